import type { AllocationId, NodeId } from '../../shared/ids.js';
import type { Allocation } from '../model/allocation.js';
import type { BerthEvent } from '../model/events.js';
import type { ClusterView } from '../model/state.js';
import { done, type Rule } from './rule.js';

/** Only what is to be started and has no tag: an attempt is never submitted under two. */
export const submitMirror: Rule<'submitMirror'> = (view, { tag, indexOffset, allocationIds }) => {
  const taken = allocationIds.filter((id) => {
    const allocation = view.allocations.get(id);
    return allocation?.phase.kind === 'committed' && allocation.mirror === undefined;
  });
  if (taken.length === 0) return done();
  const offset = indexOffset === 0 ? {} : { indexOffset };
  return done({ type: 'mirror.submitted', tag, ...offset, allocationIds: taken });
};

/** It waits there now, or is further already. */
export const mirrorQueued: Rule<'mirrorQueued'> = (view, { tag, remoteId, nodeId }) => {
  const found = liveOf(view, nodeId).filter(({ mirror }) => mirror?.tag === tag && mirror.remoteId !== remoteId);
  if (found.length === 0) return done();
  const events: BerthEvent[] = [{ type: 'mirror.queued', tag, remoteId, allocationIds: found.map(({ id }) => id) }];
  for (const { id: allocationId, phase } of found) {
    if (phase.kind === 'committed') events.push({ type: 'allocation.preparing', allocationId });
  }
  return done(...events);
};

export const mirrorMoved: Rule<'mirrorMoved'> = (view, { allocationId, nodes, requeueCount }) => {
  const allocation = view.allocations.get(allocationId);
  if (!allocation?.mirror || allocation.phase.kind === 'ended') return done();
  if (allocation.mirror.nodes === nodes && allocation.mirror.requeueCount === requeueCount) return done();
  return done({ type: 'mirror.moved', allocationId, nodes, requeueCount });
};

function liveOf(view: ClusterView, nodeId: NodeId): Allocation[] {
  const ids: ReadonlySet<AllocationId> = view.index.usage(nodeId).live;
  return [...ids].flatMap((id) => view.allocations.get(id) ?? []);
}
