import { present } from '../../shared/assert.js';
import type { AllocationId } from '../../shared/ids.js';
import type { EventOf } from './events.js';
import type { Mirrored } from './mirror.js';
import type { ClusterState } from './state.js';

export function mirrorSubmitted(state: ClusterState, event: EventOf<'mirror.submitted'>): void {
  const { tag, indexOffset, allocationIds } = event;
  const offset = indexOffset === undefined ? {} : { indexOffset };
  const mirror = { tag, ...offset, remoteId: null, nodes: '', requeueCount: 0 };
  for (const id of allocationIds) putMirror(state, id, mirror);
}

export function mirrorQueued(state: ClusterState, { remoteId, allocationIds }: EventOf<'mirror.queued'>): void {
  for (const id of allocationIds) putMirror(state, id, { ...mirrorOf(state, id), remoteId });
}

export function mirrorMoved(state: ClusterState, event: EventOf<'mirror.moved'>): void {
  const { allocationId, nodes, requeueCount } = event;
  putMirror(state, allocationId, { ...mirrorOf(state, allocationId), nodes, requeueCount });
}

function mirrorOf(state: ClusterState, id: AllocationId): Mirrored {
  return present(state.allocations.get(id)?.mirror, `mirror of ${id}`);
}

function putMirror(state: ClusterState, id: AllocationId, mirror: Mirrored): void {
  state.allocations.set(id, { ...present(state.allocations.get(id), `allocation ${id}`), mirror });
}
