import type { InstanceProvider } from '../provider.js';
import { providerCall } from './provider-call.js';

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
