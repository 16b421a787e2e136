import { isRefusal, type Refusal } from '../../shared/errors.js';
import type { AllocationId, JobId, TaskRef } from '../../shared/ids.js';
import type { Allocation } from '../model/allocation.js';
import type { Job, Step } from '../model/job.js';
import { withPastTasks } from '../model/past.js';
import { type ClusterView, leftOutcome, stepOf, taskPhase } from '../model/state.js';
import type { TaskPhase } from '../model/task.js';
import { findTask, noSuchJob } from './find.js';
import type { Service } from './service.js';
import type { AttemptSource, TaskPlace } from './task-place.js';

/**
 * Jobs and tasks where they are: in memory, or in the archive once they have left it. Memory is looked at first. What
 * is gone from there when the look has been answered has been archived, so nothing is missed between the two.
 */
type Source = Pick<Service, 'engine'>;

/** What `look` says of the job; refuses when there is none. */
export async function lookAtJob<T>(
  { engine }: Source,
  jobId: string,
  look: (view: ClusterView, job: Job) => T,
): Promise<T | Refusal> {
  const seen = await engine.read((view) => {
    const job = view.jobs.get(jobId as JobId);
    return job && { answer: look(view, job) };
  });
  if (seen) return seen.answer;
  const past = await engine.archive.pastJob(jobId as JobId);
  return past ? engine.read((view) => look(view, past)) : noSuchJob(jobId);
}

/** What `look` says of a task of the job, named `7` in its step `main`, or `train.7`; refuses when there is none. */
export async function lookAtTask<T>(
  source: Source,
  { jobId, task }: { readonly jobId: string; readonly task: string },
  look: (view: ClusterView, place: TaskPlace, attempts: AttemptSource) => T,
): Promise<T | Refusal> {
  const seen = await lookAtJob(source, jobId, (view, job) => {
    const place = findTask(job, task);
    if (isRefusal(place)) return place;
    return hasLeft(place) ? { place } : { answer: look(view, place, view.allocations) };
  });
  if (isRefusal(seen)) return seen;
  if ('answer' in seen) return seen.answer;
  const { places, attempts } = await recall(source, [seen.place]);
  return source.engine.read((view) => look(view, places[0] ?? seen.place, attempts));
}

/** Where a task stands, undefined when nobody knows it, and its attempts. */
export interface TaskSeen {
  readonly phase: TaskPhase | undefined;
  readonly attempts: AttemptSource;
}

/** The same, by its reference, for one who knows that there is, or was, such a task. */
export async function lookAtRef<T>(
  { engine }: Source,
  ref: TaskRef,
  look: (view: ClusterView, seen: TaskSeen) => T,
): Promise<T> {
  const seen = await engine.read((view) => {
    const step = stepOf(view, ref);
    if (!step || leftOutcome(step, ref.index)) return undefined;
    return { answer: look(view, { phase: taskPhase(step, ref.index), attempts: view.allocations }) };
  });
  if (seen) return seen.answer;
  const [past] = await engine.archive.pastTasks(ref.jobId, ref.step, [ref.index]);
  const attempts = new Map(past?.allocations.map((allocation) => [allocation.id, allocation]));
  return engine.read((view) => look(view, { phase: past?.task.phase, attempts }));
}

export function hasLeft({ step, index }: TaskPlace): boolean {
  return leftOutcome(step, index) !== undefined;
}

/**
 * Tasks that have left memory, with steps that know their records and no others, and their attempts.
 *
 * One that has been forgotten meanwhile keeps its place, and no phase can be told of it.
 */
export async function recall(
  { engine }: Source,
  places: readonly TaskPlace[],
): Promise<{ readonly places: readonly TaskPlace[]; readonly attempts: AttemptSource }> {
  const attempts = new Map<AllocationId, Allocation>();
  const steps = new Map<Step, Step>();
  for (const [step, { job, indexes }] of byStep(places)) {
    const past = await engine.archive.pastTasks(job.id, step.name, indexes);
    steps.set(step, withPastTasks(step, past));
    for (const { allocations } of past) for (const allocation of allocations) attempts.set(allocation.id, allocation);
  }
  return { places: places.map((place) => ({ ...place, step: steps.get(place.step) ?? place.step })), attempts };
}

function byStep(places: readonly TaskPlace[]): Map<Step, { readonly job: Job; readonly indexes: number[] }> {
  const groups = new Map<Step, { readonly job: Job; readonly indexes: number[] }>();
  for (const { job, step, index } of places) {
    const group = groups.get(step);
    if (group) group.indexes.push(index);
    else groups.set(step, { job, indexes: [index] });
  }
  return groups;
}
