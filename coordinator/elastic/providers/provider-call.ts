import { ProviderError, type ProviderFault } from '../provider.js';

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
