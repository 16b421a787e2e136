import { type Refusal, refuse } from '../../shared/errors.js';
import type { InstanceId, NodeId } from '../../shared/ids.js';
import type { Decision } from '../engine/inputs.js';
import type { Node } from '../model/node.js';
import type { ClusterView } from '../model/state.js';
import { DONE, done, type Rule } from './rule.js';

export const cordonNode: Rule<'cordonNode'> = (view, { nodeId, reason, by }) => {
  const node = view.nodes.get(nodeId);
  if (!node) return unknownNode(nodeId);
  if (node.intake.kind === 'cordoned') return { events: [], reply: DONE };
  if (node.intake.kind === 'closing') return isGoing(nodeId);
  return done({ type: 'node.cordoned', nodeId, reason, by });
};

/** Takes nothing new; ends as `drained` once empty. What still runs at the deadline is stopped and requeued. */
export const drainNode: Rule<'drainNode'> = (view, { nodeId, reason, deadlineMs, by }, { now }) => {
  const node = view.nodes.get(nodeId);
  if (!node) return unknownNode(nodeId);
  if (node.intake.kind === 'closing') return isGoing(nodeId);
  const deadlineAt = deadlineMs === null ? null : now + deadlineMs;
  const isEmpty = view.index.usage(nodeId).live.size === 0;
  const draining = { type: 'node.draining', nodeId, reason, deadlineAt, by } as const;
  return isEmpty ? done(draining, { type: 'node.drained', nodeId }) : done(draining);
};

export const openNode: Rule<'openNode'> = (view, { nodeId, by }) => {
  const node = view.nodes.get(nodeId);
  if (!node) return unknownNode(nodeId);
  if (node.intake.kind === 'open') return { events: [], reply: DONE };
  if (node.intake.kind === 'closing') return takeBack(view, nodeId);
  return done({ type: 'node.opened', nodeId, by });
};

export const removeNode: Rule<'removeNode'> = (view, { nodeId, by }) => {
  const node = view.nodes.get(nodeId);
  if (!node) return unknownNode(nodeId);
  const obstacle = rented(view, nodeId) ?? whyNotRemovable(node, view.index.usage(nodeId).live.size);
  return obstacle ?? done({ type: 'node.removed', nodeId, by });
};

/** A node whose machine is to be switched off stays, as long as that has not been ordered. */
function takeBack(view: ClusterView, nodeId: NodeId): Decision | Refusal {
  const instanceId = view.index.instanceByNode.get(nodeId);
  const phase = instanceId && view.instances.get(instanceId)?.phase;
  if (phase?.kind !== 'closing') return isGoing(nodeId);
  return done({ type: 'instance.reopened', instanceId: instanceId as InstanceId, why: 'request' });
}

function isGoing(nodeId: NodeId): Refusal {
  return refuse('conflict', `the machine of ${nodeId} is off, or is being switched off`, {
    hint: 'have its pool start one: berth pools scale POOL COUNT',
  });
}

function rented(view: ClusterView, nodeId: NodeId): Refusal | undefined {
  if (!view.index.instanceByNode.has(nodeId)) return undefined;
  return refuse('conflict', `${nodeId} is a machine of a pool`, { hint: `drain it: berth drain ${nodeId}` });
}

function whyNotRemovable(node: Node, liveCount: number): Refusal | undefined {
  if (node.link.kind === 'connected') {
    return refuse('conflict', `${node.id} is connected`, { hint: 'stop its agent first' });
  }
  if (liveCount > 0) {
    return refuse('conflict', `${node.id} still holds ${liveCount} allocations`, {
      hint: 'they are declared lost when its lease ends; try again then',
    });
  }
  return undefined;
}

function unknownNode(nodeId: string): Refusal {
  return refuse('not-found', `there is no node ${nodeId}`);
}
