import { type Refusal, refuse } from '../../shared/errors.js';
import type { Node } from '../model/node.js';
import { DONE, done, type Rule } from './rule.js';

export const cordonNode: Rule<'cordonNode'> = (view, { nodeId, reason, by }) => {
  const node = view.nodes.get(nodeId);
  if (!node) return unknownNode(nodeId);
  if (node.intake.kind === 'cordoned') return { events: [], reply: DONE };
  return done({ type: 'node.cordoned', nodeId, reason, by });
};

/** Takes nothing new; ends as `drained` once empty. What still runs at the deadline is stopped and requeued. */
export const drainNode: Rule<'drainNode'> = (view, { nodeId, reason, deadlineMs, by }, { now }) => {
  const node = view.nodes.get(nodeId);
  if (!node) return unknownNode(nodeId);
  const deadlineAt = deadlineMs === null ? null : now + deadlineMs;
  const isEmpty = view.index.usage(nodeId).live.size === 0;
  const draining = { type: 'node.draining', nodeId, reason, deadlineAt, by } as const;
  return isEmpty ? done(draining, { type: 'node.drained', nodeId }) : done(draining);
};

export const openNode: Rule<'openNode'> = (view, { nodeId, by }) => {
  const node = view.nodes.get(nodeId);
  if (!node) return unknownNode(nodeId);
  if (node.intake.kind === 'open') return { events: [], reply: DONE };
  return done({ type: 'node.opened', nodeId, by });
};

export const removeNode: Rule<'removeNode'> = (view, { nodeId, by }) => {
  const node = view.nodes.get(nodeId);
  if (!node) return unknownNode(nodeId);
  const obstacle = whyNotRemovable(node, view.index.usage(nodeId).live.size);
  return obstacle ?? done({ type: 'node.removed', nodeId, by });
};

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
