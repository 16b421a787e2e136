import { assert, present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import { type AllocationId, parseAllocationId } from '../../shared/ids.js';
import type { AllocationEnd } from '../../shared/outcome.js';
import { without } from '../../shared/ranges.js';
import { ALLOCATION_TRANSITIONS, type Allocation, type AllocationPhase } from './allocation.js';
import { find, moved, putTask, replaceStep } from './apply-job.js';
import type { EventOf } from './events.js';
import type { ClusterState } from './state.js';
import { step as transition } from './transition.js';

/** A task takes its place on a node; it leaves the queue. */
export function allocationCommitted(state: ClusterState, event: EventOf<'allocation.committed'>, at: EpochMs): void {
  const { allocationId, nodeId, gpus } = event;
  const ref = present(parseAllocationId(allocationId), 'allocation id');
  const { job, step } = find(state, ref);
  const task = step.tasks.get(ref.index);
  assert(task === undefined || task.phase.kind === 'queued', `${allocationId} is committed while ${task?.phase.kind}`);
  const allocation: Allocation = {
    id: allocationId,
    ref,
    nodeId,
    resources: step.demand.resources,
    gpus,
    committedAt: at,
    phase: { kind: 'committed' },
  };
  assert(!state.allocations.has(allocationId), `${allocationId} is committed twice`);
  state.allocations.set(allocationId, allocation);
  putTask(step, {
    index: ref.index,
    spentAttempts: task?.spentAttempts ?? 0,
    phase: { kind: 'placed', attempt: ref.attempt, allocationId },
  });
  const untouched = task ? step.untouched : without(step.untouched, ref.index);
  const next = replaceStep(state, job, { ...step, untouched, counts: moved(step.counts, 'queued', 'placed') });
  state.index.waitingCount -= 1;
  state.index.taskTaken(job, next, ref.index);
  state.index.allocationBegan(allocation);
}

export function allocationPreparing(state: ClusterState, event: EventOf<'allocation.preparing'>, at: EpochMs): void {
  change(state, event.allocationId, { kind: 'preparing', since: at });
}

export function allocationStarted(state: ClusterState, event: EventOf<'allocation.started'>, at: EpochMs): void {
  const { allocationId, startedAt } = event;
  noteStart(state, change(state, allocationId, { kind: 'running', since: at }), startedAt);
}

export function allocationStopRequested(
  state: ClusterState,
  event: EventOf<'allocation.stopRequested'>,
  at: EpochMs,
): void {
  change(state, event.allocationId, { kind: 'stopping', since: at, reason: event.reason });
}

export function allocationEnded(state: ClusterState, event: EventOf<'allocation.ended'>, at: EpochMs): void {
  const { allocationId, end, output } = event;
  const allocation = change(state, allocationId, { kind: 'ended', at, end, output });
  // A short command's end may arrive without word of its start.
  if (allocation.startedAt === undefined && hasRun(end)) noteStart(state, allocation, at - end.ranMs);
  state.index.allocationEnded(allocation);
}

type EndOfCommand = Extract<AllocationEnd, { readonly ranMs: number }>;

function hasRun(end: AllocationEnd): end is EndOfCommand {
  return end.kind === 'exited' || end.kind === 'signaled' || (end.kind === 'stopped' && end.ranMs > 0);
}

function noteStart(state: ClusterState, allocation: Allocation, startedAt: EpochMs): void {
  state.allocations.set(allocation.id, { ...allocation, startedAt });
  const job = present(state.jobs.get(allocation.ref.jobId), `job ${allocation.ref.jobId}`);
  if (job.startedAt === undefined) state.jobs.set(job.id, { ...job, startedAt });
}

function change(state: ClusterState, id: AllocationId, phase: AllocationPhase): Allocation {
  const before = present(state.allocations.get(id), `allocation ${id}`);
  const after: Allocation = { ...before, phase: transition(ALLOCATION_TRANSITIONS, before.phase, phase) };
  state.allocations.set(id, after);
  return after;
}
