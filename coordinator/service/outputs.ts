import Type, { type Static } from 'typebox';
import { isRefusal, type Refusal } from '../../shared/errors.js';
import { globMatches } from '../../shared/glob.js';
import { allocationIdOf, taskIdOf } from '../../shared/ids.js';
import type { Job } from '../model/job.js';
import { taskPhase } from '../model/state.js';
import { formatCursor, parseCursor } from './cursor.js';
import { hasLeft, lookAtJob, recall } from './look.js';
import { attemptOf } from './present-task.js';
import { nullable } from './schemas.js';
import type { Service } from './service.js';
import { indexesFrom } from './task-indexes.js';
import type { AttemptSource, TaskPlace } from './task-place.js';

export const outputSchema = Type.Object({
  task: Type.String({ description: 'The task that left it: j42.7, or j42.train.7.' }),
  attempt: Type.Integer({ minimum: 1 }),
  path: Type.String({ description: 'Its name, relative.' }),
  sha256: Type.String({ description: 'The artifact that it is.' }),
  sizeBytes: Type.Integer({ minimum: 0 }),
});
export const outputPageSchema = Type.Object({
  outputs: Type.Array(outputSchema),
  nextCursor: nullable(Type.String()),
});
export type OutputView = Static<typeof outputSchema>;
export type OutputPage = Static<typeof outputPageSchema>;

export interface OutputQuery {
  /** Tasks on a page; each has STAGING_LIMITS.maxOutputFiles at most. */
  readonly limit: number;
  readonly cursor?: string | undefined;
  /** `7` or `train.7`. */
  readonly task?: string | undefined;
  /** A pattern of paths. */
  readonly path?: string | undefined;
}

/** What the tasks of a job have left, of each the newest attempt that has ended, whatever its end. */
export async function listOutputs(service: Service, jobId: string, query: OutputQuery): Promise<OutputPage | Refusal> {
  const keys = query.cursor === undefined ? [0, 0] : parseCursor(query.cursor, 2);
  if (isRefusal(keys)) return keys;
  const page = await lookAtJob(service, jobId, (view, job) => pageFrom(view.allocations, job, { ...query, keys }));
  if (isRefusal(page)) return page;
  const { places, attempts } = await recall(service, page.left);
  const recalled = places.flatMap((place) => outputsOf(attempts, place, query));
  return { outputs: [...page.outputs, ...recalled], nextCursor: page.nextCursor };
}

interface Page extends OutputPage {
  /** Tasks of this page whose records are in the archive. */
  readonly left: readonly TaskPlace[];
}

function pageFrom(source: AttemptSource, job: Job, query: OutputQuery & { readonly keys: readonly number[] }): Page {
  const [position = 0, firstIndex = 0] = query.keys;
  const outputs: OutputView[] = [];
  const left: TaskPlace[] = [];
  let taskCount = 0;
  for (const step of [...job.steps.values()].slice(position)) {
    if (step.spec.outputs === undefined) continue;
    for (const index of indexesFrom(step, step.position === position ? firstIndex : 0, [step.untouched])) {
      if (taskCount >= query.limit) return { outputs, left, nextCursor: formatCursor([step.position, index]) };
      taskCount += 1;
      const place = { job, step, index };
      if (hasLeft(place)) left.push(place);
      else outputs.push(...outputsOf(source, place, query));
    }
  }
  return { outputs, left, nextCursor: null };
}

function outputsOf(source: AttemptSource, { job, step, index }: TaskPlace, query: OutputQuery): OutputView[] {
  const ref = { jobId: job.id, step: step.name, index };
  const task = taskIdOf(ref);
  if (query.task !== undefined && task !== `${job.id}.${query.task}`) return [];
  const phase = taskPhase(step, index);
  for (let attempt = phase ? attemptOf(phase) : 0; attempt > 0; attempt -= 1) {
    const ended = source.get(allocationIdOf({ ...ref, attempt }))?.phase;
    if (ended?.kind !== 'ended') continue;
    const files = ended.staging?.outputs ?? [];
    return files
      .filter(({ path }) => query.path === undefined || globMatches(query.path, path))
      .map((file) => ({ task, attempt, ...file }));
  }
  return [];
}
