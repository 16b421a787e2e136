import { type JobId, jobIdOf, parseJobId } from '../../shared/ids.js';
import { type FinishedJob, type PastTask, readPastJob, readPastTask } from '../model/past.js';
import type { Archive, PastJobPage, PastJobQuery, RetentionLimits } from './archive.js';
import { labelPattern, type PastJobRow, type PastRow } from './archive-row.js';

/** The archive of the memory store: JSON text by place, so that what is read shares nothing with what was written. */
export class MemoryArchive implements Archive {
  readonly #jobs = new Map<number, PastJobRow>();
  /** By job, then by step and index. */
  readonly #tasks = new Map<number, Map<string, string>>();

  keep(row: PastRow): void {
    if (row.kind === 'job') {
      this.#jobs.set(row.sequence, row);
      return;
    }
    const tasks = this.#tasks.get(row.sequence) ?? new Map();
    this.#tasks.set(row.sequence, tasks.set(taskKey(row.step, row.index), row.body));
  }

  async pastJob(jobId: JobId): Promise<FinishedJob | null> {
    const row = this.#jobs.get(parseJobId(jobId) ?? 0);
    return row ? readPastJob(row.body) : null;
  }

  async pastJobs(query: PastJobQuery): Promise<PastJobPage> {
    const rows = [...this.#jobs.values()].sort((left, right) => right.sequence - left.sequence);
    const found = rows.filter((row) => matches(row, query)).slice(0, query.limit);
    return { jobs: found.map(({ body }) => readPastJob(body)), oldestSequence: rows.at(-1)?.sequence };
  }

  async pastTasks(jobId: JobId, step: string, indexes: readonly number[]): Promise<readonly PastTask[]> {
    const tasks = this.#tasks.get(parseJobId(jobId) ?? 0);
    return indexes.flatMap((index) => {
      const body = tasks?.get(taskKey(step, index));
      return body === undefined ? [] : [readPastTask({ jobId, step }, body)];
    });
  }

  async forgettableJobs(limits: RetentionLimits, limit: number): Promise<readonly JobId[]> {
    const { endedBefore, maxJobs, keptSince } = limits;
    const rows = [...this.#jobs.values()].sort(
      (left, right) => left.endedAt - right.endedAt || left.sequence - right.sequence,
    );
    const excessCount = rows.length - maxJobs;
    const forgettable = rows.filter(
      ({ endedAt }, position) => endedAt < keptSince && (endedAt < endedBefore || position < excessCount),
    );
    return forgettable.slice(0, limit).map(({ sequence }) => jobIdOf(sequence));
  }

  async forgetJob(jobId: JobId): Promise<boolean> {
    const sequence = parseJobId(jobId) ?? 0;
    this.#tasks.delete(sequence);
    this.#jobs.delete(sequence);
    return false;
  }
}

function taskKey(step: string, index: number): string {
  return `${step} ${index}`;
}

function matches(row: PastJobRow, { below, from, name, namespace, submittedBy, labels = [] }: PastJobQuery): boolean {
  if (row.sequence >= below || row.sequence < from) return false;
  if (name !== undefined && row.name !== name) return false;
  if (namespace !== undefined && row.namespace !== namespace) return false;
  if (submittedBy !== undefined && row.submittedBy !== submittedBy) return false;
  return labels.every((label) => row.labels.includes(labelPattern(label)));
}
