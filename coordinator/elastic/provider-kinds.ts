import { didYouMean } from '../../shared/suggest.js';
import { ProviderError, type ProviderFactory } from './provider.js';

/** Who can make machines. Each is loaded by the first pool that names it, with all that it needs. */
const PROVIDERS: Readonly<Record<string, () => Promise<ProviderFactory>>> = {
  process: async () => (await import('./providers/process/process-provider.js')).processProvider,
  docker: async () => (await import('./providers/docker/docker-provider.js')).dockerProvider,
  command: async () => (await import('./providers/command/command-provider.js')).commandProvider,
  libvirt: async () => (await import('./providers/libvirt/libvirt-provider.js')).libvirtProvider,
  ec2: async () => (await import('./providers/ec2/ec2-provider.js')).ec2Provider,
  azure: async () => (await import('./providers/azure/azure-provider.js')).azureProvider,
  gcp: async () => (await import('./providers/gcp/gcp-provider.js')).gcpProvider,
  openstack: async () => (await import('./providers/openstack/openstack-provider.js')).openstackProvider,
  im: async () => (await import('./providers/im/im-provider.js')).imProvider,
};

/** Throws `ProviderError('configuration')` when there is none of this kind. */
export async function loadProvider(kind: string): Promise<ProviderFactory> {
  const load = Object.hasOwn(PROVIDERS, kind) ? PROVIDERS[kind] : undefined;
  if (load !== undefined) return load();
  const kinds = Object.keys(PROVIDERS);
  const remedy = didYouMean(kind, kinds) || `; write one of ${kinds.join(', ')}`;
  throw new ProviderError('configuration', `there is no provider "${kind}"${remedy}`);
}
