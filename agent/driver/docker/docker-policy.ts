import type { ContainerSpec } from '../../../shared/job-spec/spec.js';

/** What the operator lets containers have on this node. */
export interface DockerPolicy {
  /** The network of a container that asks for none in particular. */
  readonly network: 'none' | 'bridge';
  readonly allow: readonly Permission[];
}

/** Each weakens the wall around a container, and is refused unless it is given. */
export type Permission = 'host-network' | 'capabilities';

/** Pieces of root's power that reach nothing outside of the container. */
const HARMLESS_CAPABILITIES = new Set([
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'NET_BIND_SERVICE',
  'SETGID',
  'SETUID',
]);

/** Why this node does not run such a container; undefined when it does. */
export function forbidden({ network, capAdd = [] }: ContainerSpec, { allow }: DockerPolicy): string | undefined {
  if (network === 'host' && !allow.includes('host-network')) {
    return 'this node gives no container the host\'s network; ask for "bridge", or have its operator allow host-network';
  }
  const strong = capAdd.filter((name) => !HARMLESS_CAPABILITIES.has(name));
  if (strong.length === 0 || allow.includes('capabilities')) return undefined;
  return `this node gives no container ${strong.join(', ')}; its operator would have to allow capabilities`;
}
