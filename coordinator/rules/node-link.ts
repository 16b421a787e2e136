import { assertNever } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import type { NodeId } from '../../shared/ids.js';
import type { BerthEvent } from '../model/events.js';
import type { ClusterView } from '../model/state.js';
import { machineOverdue } from './machine-overdue.js';
import { done, type Rule } from './rule.js';

/** The connection of a node is gone. Its allocations are believed until the lease ends; nothing is stopped (P5). */
export const agentSilent: Rule<'agentSilent'> = (view, { nodeId }, { now, policy }) => {
  if (view.nodes.get(nodeId)?.link.kind !== 'connected') return done();
  return done({ type: 'node.suspected', nodeId, until: now + policy.nodeLeaseMs });
};

/**
 * No connection of before the restart is alive. Every lease begins anew at our own start: the time that the
 * coordinator was away must not count against the agents (P10).
 */
export const coordinatorStarted: Rule<'coordinatorStarted'> = (view, _input, { now, policy }) => {
  const events: BerthEvent[] = [];
  for (const { id: nodeId, link } of view.nodes.values()) {
    if (link.kind !== 'connected' && link.kind !== 'suspect') continue;
    events.push({ type: 'node.suspected', nodeId, until: now + policy.nodeLeaseMs });
  }
  // Whether orders of before the restart have reached their provider, nobody knows; they are given again.
  const effects = [...view.instances.keys()].map((instanceId) => ({ kind: 'machine', instanceId }) as const);
  return { ...done(...events), effects };
};

/** An agent goes for good: at once if it holds nothing, else it drains first. */
export const agentDeparting: Rule<'agentDeparting'> = (view, { nodeId, reason }) => {
  const node = view.nodes.get(nodeId);
  if (!node || node.link.kind === 'departed') return done();
  if (view.index.usage(nodeId).live.size === 0) return done({ type: 'node.departed', nodeId, reason });
  if (node.intake.kind === 'draining') return done();
  return done({ type: 'node.draining', nodeId, reason, deadlineAt: null, by: `agent ${nodeId}` });
};

/** A deadline is a reminder: what it was about is checked against what is true now. */
export const timePassed: Rule<'timePassed'> = (view, { deadline }, { now }) => {
  switch (deadline.kind) {
    case 'lease':
      return done(...leaseEnded(view, deadline.nodeId, now));
    case 'drain':
      return done(...drainEnded(view, deadline.nodeId, now));
    case 'instance':
      return done(...machineOverdue(view, deadline.instanceId, now));
    case 'retry':
    case 'pool':
      return done();
    default:
      return assertNever(deadline, 'deadline');
  }
};

function leaseEnded(view: ClusterView, nodeId: NodeId, now: EpochMs): BerthEvent[] {
  const link = view.nodes.get(nodeId)?.link;
  if (link?.kind !== 'suspect' || link.until > now) return [];
  const events: BerthEvent[] = [];
  const end = { kind: 'lost', message: `node ${nodeId} was silent until its lease ended` } as const;
  for (const allocationId of view.index.usage(nodeId).live) {
    events.push({ type: 'allocation.ended', allocationId, end, output: null });
  }
  return [...events, { type: 'node.lost', nodeId }];
}

function drainEnded(view: ClusterView, nodeId: NodeId, now: EpochMs): BerthEvent[] {
  const intake = view.nodes.get(nodeId)?.intake;
  if (intake?.kind !== 'draining' || intake.deadlineAt === null || intake.deadlineAt > now) return [];
  const events: BerthEvent[] = [];
  for (const allocationId of view.index.usage(nodeId).live) {
    if (view.allocations.get(allocationId)?.phase.kind === 'stopping') continue;
    events.push({ type: 'allocation.stopRequested', allocationId, reason: 'drained' });
  }
  return events;
}
