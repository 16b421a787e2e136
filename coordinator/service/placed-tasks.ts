import { isRefusal } from '../../shared/errors.js';
import { type AllocationRef, allocationIdOf, type JobId } from '../../shared/ids.js';
import type { Job } from '../model/job.js';
import { taskPhase } from '../model/state.js';
import { hasLeft, lookAtJob, recall } from './look.js';
import { attemptOf } from './present-task.js';
import type { Service } from './service.js';
import { indexesFrom } from './task-indexes.js';
import type { AttemptSource, TaskPlace } from './task-place.js';

/** The newest attempt of a task. */
export interface NewestAttempt extends AllocationRef {
  readonly isEnded: boolean;
}

const PAGE = 256;

/** The newest attempt of every task that was ever placed, in task order; read in pages, so that a million hold up nobody. */
export async function* placedTasks(service: Pick<Service, 'engine'>, jobId: JobId): AsyncGenerator<NewestAttempt> {
  let next: Place | undefined = { position: 0, index: 0 };
  while (next) {
    const from: Place = next;
    const page = await lookAtJob(service, jobId, (view, job) => pageOf(view.allocations, job, from));
    if (isRefusal(page)) return;
    const { places, attempts } = await recall(service, page.left);
    const recalled = places.flatMap((place) => newestOf(attempts, place));
    yield* [...page.attempts, ...recalled].sort(
      (one, other) => placeOf(page.job, one) - placeOf(page.job, other) || one.index - other.index,
    );
    next = page.next;
  }
}

interface Place {
  readonly position: number;
  readonly index: number;
}

interface Page {
  readonly job: Job;
  readonly attempts: readonly NewestAttempt[];
  /** Tasks of this page whose records are in the archive. */
  readonly left: readonly TaskPlace[];
  readonly next: Place | undefined;
}

function pageOf(source: AttemptSource, job: Job, from: Place): Page {
  const attempts: NewestAttempt[] = [];
  const left: TaskPlace[] = [];
  for (const step of [...job.steps.values()].slice(from.position)) {
    const first = step.position === from.position ? from.index : 0;
    for (const index of indexesFrom(step, first, [step.untouched])) {
      if (attempts.length + left.length >= PAGE) {
        return { job, attempts, left, next: { position: step.position, index } };
      }
      const place = { job, step, index };
      if (hasLeft(place)) left.push(place);
      else attempts.push(...newestOf(source, place));
    }
  }
  return { job, attempts, left, next: undefined };
}

function newestOf(attempts: AttemptSource, { job, step, index }: TaskPlace): NewestAttempt[] {
  const phase = taskPhase(step, index);
  if (!phase) return [];
  // A task that waits again has ended its last attempt.
  const attempt = phase.kind === 'queued' ? phase.attempt - 1 : attemptOf(phase);
  const ref = { jobId: job.id, step: step.name, index, attempt };
  return [{ ...ref, isEnded: attempts.get(allocationIdOf(ref))?.phase.kind === 'ended' }];
}

function placeOf(job: Job, { step }: AllocationRef): number {
  return job.steps.get(step)?.position ?? 0;
}
