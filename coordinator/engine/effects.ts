import type { InstanceId } from '../../shared/ids.js';
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
    case 'instance.requested':
    case 'instance.resuming':
    case 'instance.stopping':
      return [{ kind: 'machine', instanceId: event.instanceId }];
    case 'instance.orderFailed':
      // What was to be suspended, or has not joined, is terminated instead.
      return view.instances.get(event.instanceId)?.phase.kind === 'stopping'
        ? [{ kind: 'machine', instanceId: event.instanceId }]
        : [];
    case 'instance.closing':
    case 'instance.reopened':
      return nodeEffect(view, event.instanceId, 'intake');
    case 'instance.suspended':
      return nodeEffect(view, event.instanceId, 'disconnect');
    case 'node.removed':
      return [{ kind: 'disconnect', nodeId: event.nodeId }];
    case 'node.connected':
      return [{ kind: 'sync', nodeId: event.nodeId }];
    default:
      return [];
  }
}

function nodeEffect(view: ClusterView, instanceId: InstanceId, kind: 'intake' | 'disconnect'): Effect[] {
  const instance = view.instances.get(instanceId);
  return instance ? [{ kind, nodeId: instance.nodeId }] : [];
}

/** Events after which something that waits may be placed. */
const PLANNABLE: ReadonlySet<BerthEvent['type']> = new Set([
  'job.submitted',
  'job.released',
  'step.released',
  'step.routed',
  'task.requeued',
  'allocation.ended',
  'node.registered',
  'node.connected',
  'node.opened',
  'instance.joined',
  'instance.reopened',
]);

export function mayPlace(event: BerthEvent): boolean {
  return PLANNABLE.has(event.type);
}
