import Type, { type Static } from 'typebox';
import { CANCELED_EXIT, exitCodeOf, SYSTEM_FAILURE_EXIT } from '../../shared/outcome.js';
import { type Job, jobCounts, type Step, unfinishedCount } from '../model/job.js';
import { preparationText } from './preparations.js';
import { countsSchema, instant, instantOrNull, nullable, oneOf, stringMap, time } from './schemas.js';
import type { Explanations } from './waiting.js';

export const JOB_STATES = ['held', 'active', 'canceling', 'finished'] as const;

export const stepSchema = Type.Object({
  name: Type.String(),
  needs: Type.Array(Type.String(), { description: 'Steps that must succeed first.' }),
  array: Type.String({ description: 'Task indexes: 0, 1-100, 1-9:2,20.' }),
  state: oneOf(['blocked', 'queued', 'running', 'finished']),
  counts: countsSchema,
});
export type StepView = Static<typeof stepSchema>;

export const jobSchema = Type.Object({
  id: Type.String({ description: 'For example j42.' }),
  name: Type.String(),
  namespace: Type.String(),
  priority: Type.Integer({ description: 'Higher goes first.' }),
  labels: stringMap,
  state: oneOf(JOB_STATES),
  outcome: nullable(oneOf(['succeeded', 'failed', 'canceled']), 'Null until it is finished.'),
  reason: nullable(Type.String(), 'Why it is canceled, or did not succeed.'),
  exitCode: nullable(Type.Integer(), 'The highest exit code of its tasks; null until it is finished.'),
  submittedAt: time('When it was accepted.'),
  submittedBy: Type.String(),
  startedAt: nullable(time('When the first of its tasks is known to have run.')),
  finishedAt: nullable(time('When its last task was done.')),
  counts: countsSchema,
  taskCount: Type.Integer({ minimum: 0 }),
  steps: Type.Array(stepSchema),
  waitingReason: nullable(Type.String(), 'Why tasks of it wait; null when none does.'),
});
export type JobView = Static<typeof jobSchema>;

/** Cost: O(steps), O(nodes) when something waits, and O(tasks) once in the life of a job that finished with failures. */
export function presentJob(job: Job, explanations: Explanations): JobView {
  const { spec, phase } = job;
  const steps = [...job.steps.values()];
  const finished = phase.kind === 'finished' ? phase : undefined;
  return {
    id: job.id,
    name: spec.name,
    namespace: spec.namespace,
    priority: spec.priority,
    labels: spec.labels,
    state: phase.kind,
    outcome: finished ? finished.outcome : null,
    reason: 'reason' in phase && phase.reason !== undefined ? phase.reason : null,
    exitCode: finished ? exitCodeOfJob(job) : null,
    submittedAt: instant(job.submittedAt),
    submittedBy: job.submittedBy,
    startedAt: instantOrNull(job.startedAt),
    finishedAt: instantOrNull(finished?.at),
    counts: jobCounts(job),
    taskCount: steps.reduce((sum, step) => sum + step.count, 0),
    steps: steps.map(presentStep),
    waitingReason: explanations.reasonOfJob(job)?.message ?? preparationOf(job, explanations),
  };
}

function preparationOf(job: Job, { preparations }: Explanations): string | null {
  const preparation = jobCounts(job).placed > 0 ? preparations.ofJob(job.id) : undefined;
  return preparation ? preparationText(preparation) : null;
}

function presentStep(step: Step): StepView {
  const { name, needs, array } = step.spec;
  return { name, needs: [...needs], array, state: stateOf(step), counts: step.counts };
}

function stateOf({ counts }: Step): StepView['state'] {
  if (unfinishedCount(counts) === 0) return 'finished';
  if (counts.placed > 0) return 'running';
  return counts.queued > 0 ? 'queued' : 'blocked';
}

/** A finished job's record is never replaced again, so that its tasks need to be gone through only once. */
const exitCodes = new WeakMap<Job, number>();

function exitCodeOfJob(job: Job): number {
  let highest = exitCodes.get(job);
  if (highest === undefined) {
    highest = Math.max(0, ...[...job.steps.values()].map(exitCodeOfStep));
    exitCodes.set(job, highest);
  }
  return highest;
}

function exitCodeOfStep(step: Step): number {
  const { failed, canceled, dropped } = step.counts;
  let highest = step.left?.highestExitCode ?? 0;
  if (canceled > 0) highest = Math.max(highest, CANCELED_EXIT);
  if (dropped > 0) highest = Math.max(highest, SYSTEM_FAILURE_EXIT);
  if (failed === 0) return highest;
  for (const { phase } of step.tasks.values()) {
    if (phase.kind === 'done') highest = Math.max(highest, exitCodeOf(phase.outcome));
  }
  return highest;
}
