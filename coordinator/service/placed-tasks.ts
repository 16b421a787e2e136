import { type AllocationRef, allocationIdOf, type JobId } from '../../shared/ids.js';
import { type ClusterView, taskPhase } from '../model/state.js';
import { attemptOf } from './present-task.js';
import type { Service } from './service.js';
import { placedIndexesFrom } from './task-indexes.js';

/** The newest attempt of a task. */
export interface NewestAttempt extends AllocationRef {
  readonly isEnded: boolean;
}

const PAGE = 256;

/** The newest attempt of every task that was ever placed, in task order; read in pages, so that a million hold up nobody. */
export async function* placedTasks({ engine }: Pick<Service, 'engine'>, jobId: JobId): AsyncGenerator<NewestAttempt> {
  let next: Place | undefined = { position: 0, index: 0 };
  while (next) {
    const from: Place = next;
    const page: Page = await engine.read((view) => pageOf(view, jobId, from));
    yield* page.attempts;
    next = page.next;
  }
}

interface Place {
  readonly position: number;
  readonly index: number;
}

interface Page {
  readonly attempts: readonly NewestAttempt[];
  readonly next: Place | undefined;
}

function pageOf(view: ClusterView, jobId: JobId, from: Place): Page {
  const attempts: NewestAttempt[] = [];
  for (const step of [...(view.jobs.get(jobId)?.steps.values() ?? [])].slice(from.position)) {
    for (const index of placedIndexesFrom(step, step.position === from.position ? from.index : 0)) {
      if (attempts.length >= PAGE) return { attempts, next: { position: step.position, index } };
      const phase = taskPhase(step, index);
      if (!phase) continue;
      // A task that waits again has ended its last attempt.
      const attempt = phase.kind === 'queued' ? phase.attempt - 1 : attemptOf(phase);
      const ref = { jobId, step: step.name, index, attempt };
      const isEnded = view.allocations.get(allocationIdOf(ref))?.phase.kind === 'ended';
      attempts.push({ ...ref, isEnded });
    }
  }
  return { attempts, next: undefined };
}
