import type { BerthEvent } from '../model/events.js';
import type { ClusterView } from '../model/state.js';
import type { Effect } from './inputs.js';

/** What the world is told because of an event, once it is on disk. Lost effects are made good by the next sync. */
export function effectsOf(view: ClusterView, event: BerthEvent): Effect[] {
  switch (event.type) {
    case 'allocation.committed':
      return [{ kind: 'start', nodeId: event.nodeId, allocationId: event.allocationId }];
    case 'allocation.stopRequested': {
      const allocation = view.allocations.get(event.allocationId);
      return allocation ? [{ kind: 'stop', nodeId: allocation.nodeId, allocationId: allocation.id }] : [];
    }
    case 'node.connected':
      return [{ kind: 'sync', nodeId: event.nodeId }];
    default:
      return [];
  }
}

/** Events after which something that waits may be placed. */
const PLANNABLE: ReadonlySet<BerthEvent['type']> = new Set([
  'job.submitted',
  'job.released',
  'step.released',
  'task.requeued',
  'allocation.ended',
  'node.registered',
  'node.connected',
  'node.opened',
]);

export function mayPlace(event: BerthEvent): boolean {
  return PLANNABLE.has(event.type);
}
