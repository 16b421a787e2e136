import { present } from '../../shared/assert.js';
import { type JobId, parseTaskId, taskIdOf } from '../../shared/ids.js';
import { exitCodeOf } from '../../shared/outcome.js';
import { EMPTY_RANGES, type RangeSet, withIndexes } from '../../shared/ranges.js';
import { type Allocation, allocationsOf } from './allocation.js';
import type { Job, LeftTasks, Step } from './job.js';
import type { FinishedJob, PastTask } from './past.js';
import type { ClusterState } from './state.js';
import type { Task } from './task.js';

/** They leave in lots of this part of the limit: a lot merges into the ranges of its step at the cost of one task. */
const LOTS = 16;
/** In one lot at most, so that no event takes long, even if very much was done at once. */
const MAX_LOT = 2_000;

/**
 * Lets the oldest of what is done leave memory while there is more of it than the limits allow.
 *
 * Called before an event that nothing else in the fold can cause: an attempt's end, or a submission. So whatever has
 * just ended is still there while the rules look for what follows from its end. It depends on the log and the limits
 * alone, and needs no event of its own: a replay lets the same things leave, and archives them again.
 */
export function letLeave(state: ClusterState): void {
  const { finished, memory } = state;
  for (const jobId of firstOf(finished.jobs, lotOf(finished.jobs.size, memory.finishedJobs))) jobLeaves(state, jobId);
  for (const [step, { job, tasks }] of grouped(state, lotOf(finished.tasks.size, memory.doneTasks))) {
    tasksLeave(state, { job, step }, tasks);
  }
}

function lotOf(count: number, limit: number): number {
  const excess = count - limit;
  return excess > limit / LOTS ? Math.min(excess, MAX_LOT) : 0;
}

function firstOf<T>(values: Iterable<T>, count: number): T[] {
  const first: T[] = [];
  if (count === 0) return first;
  for (const value of values) {
    first.push(value);
    if (first.length === count) break;
  }
  return first;
}

function grouped(state: ClusterState, count: number): Map<Step, { readonly job: Job; readonly tasks: Task[] }> {
  const groups = new Map<Step, { readonly job: Job; readonly tasks: Task[] }>();
  for (const taskId of firstOf(state.finished.tasks, count)) {
    const ref = present(parseTaskId(taskId), 'task id');
    const job = present(state.jobs.get(ref.jobId), `job of ${taskId}`);
    const step = present(job.steps.get(ref.step), `step of ${taskId}`);
    const task = present(step.tasks.get(ref.index), taskId);
    const group = groups.get(step);
    if (group) group.tasks.push(task);
    else groups.set(step, { job, tasks: [task] });
  }
  return groups;
}

/** With what is left of its tasks. Nothing waits for it or runs, so no index knows of it. */
function jobLeaves(state: ClusterState, jobId: JobId): void {
  const job = present(state.jobs.get(jobId), `finished job ${jobId}`) as FinishedJob;
  for (const step of [...job.steps.values()]) tasksLeave(state, { job, step }, [...step.tasks.values()]);
  state.departures.push({ kind: 'job', job });
  state.jobs.delete(jobId);
  state.finished.jobs.delete(jobId);
}

function tasksLeave(
  state: ClusterState,
  { job, step }: { readonly job: Job; readonly step: Step },
  tasks: readonly Task[],
): void {
  if (tasks.length === 0) return;
  for (const task of tasks) {
    const past = pastTask(state, { job, step, task });
    state.departures.push({ kind: 'task', task: past });
    for (const { id } of past.allocations) state.allocations.delete(id);
    state.finished.tasks.delete(taskIdOf({ jobId: job.id, step: step.name, index: task.index }));
    (step.tasks as Map<number, Task>).delete(task.index);
  }
  // What is served, waits or runs of the step is as it was: no index changes.
  (job.steps as Map<string, Step>).set(step.name, { ...step, left: withTasks(step.left ?? NONE_LEFT, tasks) });
}

function pastTask(
  state: ClusterState,
  { job, step, task }: { readonly job: Job; readonly step: Step; readonly task: Task },
): PastTask {
  const ref = { jobId: job.id, step: step.name, index: task.index };
  const attemptCount = task.phase.kind === 'done' ? task.phase.attempt : 0;
  const allocations: Allocation[] = allocationsOf(state.allocations, ref, attemptCount);
  return { jobId: job.id, step: step.name, task, allocations };
}

const NONE_LEFT: LeftTasks = {
  succeeded: EMPTY_RANGES,
  failed: EMPTY_RANGES,
  canceled: EMPTY_RANGES,
  dropped: EMPTY_RANGES,
  highestExitCode: 0,
};

function withTasks(left: LeftTasks, tasks: readonly Task[]): LeftTasks {
  const indexes = {
    succeeded: [] as number[],
    failed: [] as number[],
    canceled: [] as number[],
    dropped: [] as number[],
  };
  let { highestExitCode } = left;
  for (const { index, phase } of tasks) {
    if (phase.kind !== 'done') continue;
    indexes[phase.outcome.kind].push(index);
    highestExitCode = Math.max(highestExitCode, exitCodeOf(phase.outcome));
  }
  const joined = (kind: keyof typeof indexes): RangeSet =>
    withIndexes(
      left[kind],
      indexes[kind].sort((one, other) => one - other),
    );
  return {
    succeeded: joined('succeeded'),
    failed: joined('failed'),
    canceled: joined('canceled'),
    dropped: joined('dropped'),
    highestExitCode,
  };
}
