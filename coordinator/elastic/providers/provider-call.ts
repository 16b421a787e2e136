import { type InstanceProvider, ProviderError, type ProviderFault } from '../provider.js';

/**
 * The provider with every order guarded: nothing is begun after an abort, and nothing but `ProviderError` comes out.
 */
export function guarded(provider: InstanceProvider): InstanceProvider {
  return {
    traits: provider.traits,
    check: (signal) => providerCall(signal, () => provider.check(signal)),
    create: (order, signal) => providerCall(signal, () => provider.create(order, signal)),
    list: (cluster, signal) => providerCall(signal, () => provider.list(cluster, signal)),
    suspend: (ref, signal) => providerCall(signal, () => provider.suspend(ref, signal)),
    resume: (ref, signal) => providerCall(signal, () => provider.resume(ref, signal)),
    terminate: (ref, signal) => providerCall(signal, () => provider.terminate(ref, signal)),
  };
}

/** Runs one call of a provider: does nothing when it is aborted already, and lets nothing out but `ProviderError`. */
export async function providerCall<T>(signal: AbortSignal, call: () => T | Promise<T>): Promise<T> {
  try {
    signal.throwIfAborted();
    return await call();
  } catch (cause) {
    if (cause instanceof ProviderError) throw cause;
    throw new ProviderError(faultOf(cause), messageOf(cause), cause);
  }
}

/** What the operating system's own words mean here; all others leave open whether it was done. */
const SYSTEM_FAULTS: Readonly<Record<string, ProviderFault>> = {
  EACCES: 'configuration',
  EPERM: 'configuration',
  ENOTDIR: 'configuration',
  EROFS: 'configuration',
};

function faultOf(cause: unknown): ProviderFault {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  return SYSTEM_FAULTS[code] ?? 'unavailable';
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
