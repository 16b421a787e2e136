import { didYouMean } from '../../shared/suggest.js';
import { ProviderError, type ProviderFactory } from './provider.js';

/** Who can make machines. Each is loaded by the first pool that names it, with all that it needs. */
const PROVIDERS: Readonly<Record<string, () => Promise<ProviderFactory>>> = {
  process: async () => (await import('./providers/process/process-provider.js')).processProvider,
};

/** Throws `ProviderError('configuration')` when there is none of this kind. */
export async function loadProvider(kind: string): Promise<ProviderFactory> {
  const load = Object.hasOwn(PROVIDERS, kind) ? PROVIDERS[kind] : undefined;
  if (load !== undefined) return load();
  const kinds = Object.keys(PROVIDERS);
  const remedy = didYouMean(kind, kinds) || `; write one of ${kinds.join(', ')}`;
  throw new ProviderError('configuration', `there is no provider "${kind}"${remedy}`);
}
