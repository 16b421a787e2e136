import { putInstance, remindOfSilence } from './apply-instance.js';
import { poolOfNodesChanged } from './apply-node.js';
import { wakeAt } from './apply-pool.js';
import type { Instance } from './instance.js';
import { isSilent } from './node.js';
import type { Pool } from './pool.js';
import type { ClusterState, ClusterView } from './state.js';

/** What a snapshot holds of pools and machines. */
export interface StoredElastic {
  readonly pools: readonly StoredPool[];
  readonly instances: readonly Instance[];
  readonly nextInstanceSequence: number;
}

/** With the key of its class. */
type StoredPool = Omit<Pool, 'nodeClass'> & { readonly nodeClass: string };

export function storedElastic(view: ClusterView): { elastic?: StoredElastic } {
  const { pools, instances, nextInstanceSequence } = view;
  if (pools.size === 0 && nextInstanceSequence === 1) return {};
  return {
    elastic: {
      pools: [...pools.values()].map(({ nodeClass, ...pool }) => ({ ...pool, nodeClass: nodeClass.key })),
      instances: [...instances.values()],
      nextInstanceSequence,
    },
  };
}

/** Call after the nodes have been entered. */
export function restoreElastic(state: ClusterState, { pools, instances, nextInstanceSequence }: StoredElastic): void {
  for (const pool of pools) restorePool(state, pool);
  for (const instance of instances) restoreInstance(state, instance);
  for (const { spec } of state.pools.values()) if (spec.exclusive) poolOfNodesChanged(state, spec);
  state.nextInstanceSequence = nextInstanceSequence;
}

function restorePool(state: ClusterState, stored: StoredPool): void {
  const { name } = stored.spec;
  state.pools.set(name, { ...stored, nodeClass: state.classes.nodeClassOfKey(stored.nodeClass) });
  if (stored.cooling !== null) wakeAt(state, name, stored.cooling.until);
}

function restoreInstance(state: ClusterState, instance: Instance): void {
  putInstance(state, instance);
  const link = state.nodes.get(instance.nodeId)?.link;
  if (link && isSilent(link)) remindOfSilence(state, instance.nodeId, link.since);
}
