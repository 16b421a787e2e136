import { assert } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import type { NodeId } from '../../shared/ids.js';
import {
  allocationCommitted,
  allocationEnded,
  allocationPreparing,
  allocationStarted,
  allocationStopRequested,
} from './apply-allocation.js';
import * as instance from './apply-instance.js';
import {
  jobPhaseChanged,
  jobSubmitted,
  stepReleased,
  stepRouted,
  stepSwept,
  taskFinished,
  taskRequeued,
} from './apply-job.js';
import { mirrorMoved, mirrorQueued, mirrorSubmitted } from './apply-mirror.js';
import { nodeIntakeChanged, nodeLinkChanged, nodeRegistered, nodeRemoved } from './apply-node.js';
import { poolDefined, poolIntakeChanged, poolRemoved, poolScaled } from './apply-pool.js';
import type { EventOf, EventType, LoggedEvent } from './events.js';
import { letLeave } from './leaving.js';
import type { NodeLink } from './node.js';
import type { ClusterState } from './state.js';

/**
 * Folds one event into the state: the only writer, live and at replay.
 *
 * Cost: O(log queue) plus, for sweeps, the tasks concerned. Throws Bug on an event that the state does not allow.
 */
export function applyEvent(state: ClusterState, logged: LoggedEvent): void {
  assert(logged.seq === state.lastSeq + 1, `event ${logged.seq} follows ${state.lastSeq}`);
  if (ROOTS.has(logged.event.type)) letLeave(state);
  state.lastSeq = logged.seq;
  const fold = FOLDS[logged.event.type] as Fold<EventType>;
  fold(state, logged.event, logged.at);
}

/** Events that follow from no other one: between two of them the rules may look for what has just ended. */
const ROOTS: ReadonlySet<EventType> = new Set(['job.submitted', 'allocation.ended']);

type Fold<Type extends EventType> = (state: ClusterState, event: EventOf<Type>, at: EpochMs) => void;

const FOLDS: { readonly [Type in EventType]: Fold<Type> } = {
  'job.submitted': jobSubmitted,
  'job.held': (state, { jobId }, at) => jobPhaseChanged(state, jobId, { kind: 'held', since: at }),
  'job.released': (state, { jobId }, at) => jobPhaseChanged(state, jobId, { kind: 'active', since: at }),
  'job.cancelRequested': (state, { jobId, reason }, at) =>
    jobPhaseChanged(state, jobId, { kind: 'canceling', since: at, reason }),
  'job.finished': (state, { jobId, outcome, reason }, at) =>
    jobPhaseChanged(state, jobId, { kind: 'finished', at, outcome, ...(reason === undefined ? {} : { reason }) }),
  'step.released': stepReleased,
  'step.routed': stepRouted,
  'step.swept': stepSwept,
  'task.requeued': taskRequeued,
  'task.finished': taskFinished,
  'allocation.committed': allocationCommitted,
  'allocation.preparing': allocationPreparing,
  'allocation.started': allocationStarted,
  'allocation.stopRequested': allocationStopRequested,
  'allocation.ended': allocationEnded,
  'node.registered': nodeRegistered,
  'node.connected': (state, { nodeId }, at) => nodeLinkChanged(state, nodeId, { kind: 'connected', since: at }),
  'node.suspected': (state, { nodeId, until }, at) =>
    nodeLinkChanged(state, nodeId, { kind: 'suspect', since: at, until }),
  'node.lost': (state, { nodeId }, at) => nodeFellSilent(state, nodeId, { kind: 'lost', since: at }),
  'node.departed': (state, { nodeId }, at) => nodeFellSilent(state, nodeId, { kind: 'departed', since: at }),
  'node.removed': nodeRemoved,
  'node.opened': (state, { nodeId }) => nodeIntakeChanged(state, nodeId, { kind: 'open' }),
  'node.cordoned': (state, { nodeId, reason }, at) =>
    nodeIntakeChanged(state, nodeId, { kind: 'cordoned', since: at, reason }),
  'node.draining': (state, { nodeId, reason, deadlineAt }, at) =>
    nodeIntakeChanged(state, nodeId, { kind: 'draining', since: at, reason, deadlineAt }),
  'node.drained': (state, { nodeId }, at) =>
    nodeIntakeChanged(state, nodeId, { kind: 'drained', since: at, reason: 'drained' }),
  'mirror.submitted': mirrorSubmitted,
  'mirror.queued': mirrorQueued,
  'mirror.moved': mirrorMoved,
  'pool.defined': poolDefined,
  'pool.removed': poolRemoved,
  'pool.enabled': (state, { pool }) => poolIntakeChanged(state, pool, { kind: 'enabled' }),
  'pool.disabled': (state, { pool, reason }, at) =>
    poolIntakeChanged(state, pool, { kind: 'disabled', since: at, reason }),
  'pool.cordoned': (state, { pool, reason }, at) =>
    poolIntakeChanged(state, pool, { kind: 'cordoned', since: at, reason }),
  'pool.retiring': (state, { pool, reason }, at) =>
    poolIntakeChanged(state, pool, { kind: 'retiring', since: at, reason }),
  'pool.scaled': poolScaled,
  'instance.requested': instance.instanceRequested,
  'instance.booting': instance.instanceBooting,
  'instance.joined': instance.instanceJoined,
  'instance.closing': instance.instanceClosing,
  'instance.reopened': instance.instanceReopened,
  'instance.stopping': instance.instanceStopping,
  'instance.suspended': instance.instanceSuspended,
  'instance.resuming': instance.instanceResuming,
  'instance.terminated': instance.instanceTerminated,
  'instance.orderFailed': instance.instanceOrderFailed,
};

function nodeFellSilent(state: ClusterState, nodeId: NodeId, link: NodeLink): void {
  nodeLinkChanged(state, nodeId, link);
  instance.remindOfSilence(state, nodeId, link.since);
}
