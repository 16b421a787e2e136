import { assert, present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import { type JobId, taskIdOf } from '../../shared/ids.js';
import type { StepSpec } from '../../shared/job-spec/spec.js';
import { taskIndexesOf } from '../../shared/job-spec/task-indexes.js';
import type { TaskOutcome } from '../../shared/outcome.js';
import { rangesCount } from '../../shared/ranges.js';
import type { DemandClass } from './demand.js';
import type { EventOf } from './events.js';
import { slotsOnEmpty } from './feasible.js';
import { isRouted, JOB_TRANSITIONS, type Job, type JobPhase, NO_TASKS, type Step, type TaskCounts } from './job.js';
import { type ClusterState, KEY_LIFETIME_MS } from './state.js';
import { TASK_TRANSITIONS, type Task } from './task.js';
import { step as transition } from './transition.js';

export function jobSubmitted(state: ClusterState, event: EventOf<'job.submitted'>, at: EpochMs): void {
  assert(event.sequence === state.nextJobSequence, `job ${event.jobId} is out of sequence`);
  state.nextJobSequence = event.sequence + 1;
  const job: MutableStepsJob = {
    id: event.jobId,
    sequence: event.sequence,
    spec: event.spec,
    submittedAt: at,
    submittedBy: event.by,
    phase: event.spec.hold ? { kind: 'held', since: at } : { kind: 'active', since: at },
    steps: new Map(event.spec.steps.map((spec, position) => [spec.name, newStep(state, spec, { position, at })])),
  };
  state.jobs.set(job.id, job);
  state.index.unfinishedJobCount += 1;
  for (const step of job.steps.values()) {
    if (isRouted(step)) noteArrival(state, step, { count: step.count, at });
    state.index.waitingChanged(job, step.count);
    state.index.queueChanged(job, step);
  }
  forgetOldKeys(state, at);
  if (event.key) state.keys.set(event.key.value, { jobId: job.id, digest: event.key.digest, at });
}

/** So many tasks of the step's demand have come. */
function noteArrival(
  state: ClusterState,
  step: Step,
  { count, at }: { readonly count: number; readonly at: EpochMs },
): void {
  state.index.stepSubmitted(step);
  // It is learnt for machines that come and go; where there are none, it is nobody's business.
  if (state.pools.size === 0) return;
  state.index.experience.submitted(step.demand, { count, memoryMs: memoryMsFor(state, step.demand), at });
}

/** Lately is what came in about the time that the machine takes to come which would serve the next, in these parts of it. */
const MEMORY_SHARE = 0.85;
const MIN_MEMORY_MS = 1_000;

function memoryMsFor({ pools }: ClusterState, demand: DemandClass): number {
  const all = [...pools.values()];
  const able = all.filter(({ nodeClass }) => slotsOnEmpty(demand, nodeClass) > 0);
  const boots = (able.length > 0 ? able : all).map(({ times }) => times.bootMs);
  return Math.max(MIN_MEMORY_MS, MEMORY_SHARE * Math.max(...boots));
}

type MutableStepsJob = Job & { readonly steps: Map<string, Step> };

function newStep(
  state: ClusterState,
  spec: StepSpec,
  place: { readonly position: number; readonly at: EpochMs },
): Step {
  const untouched = taskIndexesOf(spec);
  const count = rangesCount(untouched);
  const isReleased = spec.needs.length === 0;
  return {
    name: spec.name,
    position: place.position,
    spec,
    demand: state.classes.demandOf(spec),
    count,
    isReleased,
    queuedAt: place.at,
    untouched,
    tasks: new Map(),
    counts: { ...NO_TASKS, ...(isReleased ? { queued: count } : { blocked: count }) },
  };
}

/** Keys are kept in order of time, so the old ones come first. */
function forgetOldKeys(state: ClusterState, at: EpochMs): void {
  for (const [value, record] of state.keys) {
    if (at - record.at < KEY_LIFETIME_MS) return;
    state.keys.delete(value);
  }
}

export function jobPhaseChanged(state: ClusterState, jobId: JobId, phase: JobPhase): void {
  const before = jobOf(state, jobId);
  const job: Job = { ...before, phase: transition(JOB_TRANSITIONS, before.phase, phase) };
  state.jobs.set(jobId, job);
  if (phase.kind === 'finished') {
    state.index.unfinishedJobCount -= 1;
    state.finished.jobs.add(jobId);
  }
  for (const step of job.steps.values()) state.index.queueChanged(job, step);
}

export function stepReleased(state: ClusterState, event: EventOf<'step.released'>, at: EpochMs): void {
  const { job, step } = find(state, event);
  const { blocked, queued } = step.counts;
  const counts = { ...step.counts, blocked: 0, queued: queued + blocked };
  replaceStep(state, job, { ...step, isReleased: true, queuedAt: at, counts });
}

/** What waits of the step goes elsewhere; what is placed stays. */
export function stepRouted(state: ClusterState, event: EventOf<'step.routed'>, at: EpochMs): void {
  const { job, step } = find(state, event);
  const { target, because, alternatives } = event;
  state.index.stepLeft(job, step);
  const demand = state.classes.demandOf(step.spec, target);
  const routed = replaceStep(state, job, { ...step, demand, route: { target, at, because, alternatives } });
  if (!isRouted(step) || demand !== step.demand) noteArrival(state, routed, { count: step.counts.queued, at });
}

/** Ends every task of the step that holds no allocation. */
export function stepSwept(state: ClusterState, event: EventOf<'step.swept'>, at: EpochMs): void {
  const { job, step } = find(state, event);
  const { outcome } = event;
  for (const task of step.tasks.values()) {
    if (task.phase.kind !== 'queued') continue;
    putTask(step, { ...task, phase: { kind: 'done', at, attempt: task.phase.attempt - 1, outcome } });
    if (step.spec.outputs !== undefined) continue;
    state.finished.tasks.add(taskIdOf({ jobId: job.id, step: step.name, index: task.index }));
  }
  const { blocked, queued } = step.counts;
  state.index.waitingChanged(job, -(blocked + queued));
  const counts = {
    ...step.counts,
    blocked: 0,
    queued: 0,
    [outcome.kind]: step.counts[outcome.kind] + blocked + queued,
  };
  replaceStep(state, job, { ...step, swept: step.swept ?? { at, outcome }, counts });
}

export function taskRequeued(state: ClusterState, event: EventOf<'task.requeued'>, at: EpochMs): void {
  const { job, step } = find(state, event);
  const { index, attempt, notBefore, spentAttempts, rejectedAttempts } = event;
  const task = present(step.tasks.get(index), 'requeued task');
  const phase = transition(TASK_TRANSITIONS, task.phase, { kind: 'queued', since: at, attempt, notBefore });
  putTask(step, { ...task, phase, spentAttempts, ...(rejectedAttempts ? { rejectedAttempts } : {}) });
  state.index.waitingChanged(job, 1);
  const next = replaceStep(state, job, { ...step, counts: moved(step.counts, 'placed', 'queued') });
  state.index.retryAdded(job, next, { index, notBefore });
}

export function taskFinished(state: ClusterState, event: EventOf<'task.finished'>, at: EpochMs): void {
  const { job, step } = find(state, event);
  const task = present(step.tasks.get(event.index), 'finished task');
  assert(task.phase.kind === 'placed', `task ${event.index} finished while ${task.phase.kind}`);
  const { attempt } = task.phase;
  putTask(step, { ...task, phase: { kind: 'done', at, attempt, outcome: event.outcome } });
  // What it left may be another step's input, which is looked for in memory.
  if (step.spec.outputs === undefined) state.finished.tasks.add(taskIdOf(event));
  replaceStep(state, job, { ...step, counts: moved(step.counts, 'placed', event.outcome.kind) });
}

/** The step with one of its tasks counted elsewhere. */
export function moved(
  counts: TaskCounts,
  from: keyof TaskCounts,
  to: keyof TaskCounts | TaskOutcome['kind'],
): TaskCounts {
  assert(counts[from] > 0, `no ${from} task to move to ${to}`);
  const less = { ...counts, [from]: counts[from] - 1 };
  return { ...less, [to]: less[to] + 1 };
}

export function replaceStep(state: ClusterState, job: Job, step: Step): Step {
  (job as MutableStepsJob).steps.set(step.name, step);
  state.index.queueChanged(job, step);
  return step;
}

export function putTask(step: Step, task: Task): void {
  (step.tasks as Map<number, Task>).set(task.index, task);
}

export function find(
  state: ClusterState,
  ref: { readonly jobId: JobId; readonly step: string },
): { job: Job; step: Step } {
  const job = jobOf(state, ref.jobId);
  return { job, step: present(job.steps.get(ref.step), `step ${ref.step} of ${ref.jobId}`) };
}

function jobOf(state: ClusterState, jobId: JobId): Job {
  return present(state.jobs.get(jobId), `job ${jobId}`);
}
