import type { Refusal } from '../../shared/errors.js';
import type { JobId } from '../../shared/ids.js';
import { eachIndex } from '../../shared/ranges.js';
import { type Allocation, allocationsOf } from '../model/allocation.js';
import type { Job, Step } from '../model/job.js';
import type { ClusterView } from '../model/state.js';
import { noSuchJob } from './find.js';
import { attemptOf } from './present-task.js';
import type { Service } from './service.js';

/** Archived tasks that are asked for at once. */
const PAGE = 500;

/** What `look` says of a job and all attempts of its tasks, whether in memory or in the archive; undefined beyond the limit. */
export async function attemptsOfJob<T>(
  { engine }: Pick<Service, 'engine'>,
  { jobId, limit }: { readonly jobId: string; readonly limit: number },
  look: (view: ClusterView, job: Job, attempts: readonly Allocation[] | undefined) => T,
): Promise<T | Refusal> {
  const seen = await engine.read((view) => {
    const job = view.jobs.get(jobId as JobId);
    return job && { job, attempts: [...job.steps.values()].flatMap((step) => inMemory(view, job, step)) };
  });
  const job = seen?.job ?? (await engine.archive.pastJob(jobId as JobId));
  if (!job) return noSuchJob(jobId);
  const found = new Map((seen?.attempts ?? []).map((attempt) => [attempt.id, attempt]));
  for (const step of job.steps.values()) {
    const left = leftIndexes(step, limit);
    for (let at = 0; at < left.length && found.size <= limit; at += PAGE) {
      const past = await engine.archive.pastTasks(job.id, step.name, left.slice(at, at + PAGE));
      for (const { allocations } of past) for (const attempt of allocations) found.set(attempt.id, attempt);
    }
  }
  return engine.read((view) => look(view, job, found.size > limit ? undefined : [...found.values()]));
}

function inMemory(view: ClusterView, job: Job, step: Step): Allocation[] {
  return [...step.tasks.values()].flatMap(({ index, phase }) =>
    allocationsOf(view.allocations, { jobId: job.id, step: step.name, index }, attemptOf(phase)),
  );
}

/** One more than the limit at most. */
function leftIndexes({ left }: Step, limit: number): number[] {
  const found: number[] = [];
  if (!left) return found;
  for (const kind of ['succeeded', 'failed', 'canceled', 'dropped'] as const) {
    for (const index of eachIndex(left[kind])) {
      found.push(index);
      if (found.length > limit) return found;
    }
  }
  return found;
}
