import type { EpochMs } from '../../shared/clock.js';
import type { JobId } from '../../shared/ids.js';
import type { FinishedJob, PastTask } from '../model/past.js';

export interface PastJobQuery {
  /** Only jobs with a sequence number below. */
  readonly below: number;
  /** Only jobs with this sequence number or a higher one. */
  readonly from: number;
  readonly limit: number;
  readonly name?: string | undefined;
  readonly namespace?: string | undefined;
  readonly submittedBy?: string | undefined;
  /** All must hold. */
  readonly labels?: readonly (readonly [key: string, value: string])[] | undefined;
}

export interface PastJobPage {
  /** The newest submitted first. */
  readonly jobs: readonly FinishedJob[];
  /** Of all that are kept, matching or not; undefined when none is. */
  readonly oldestSequence: number | undefined;
}

/** Which jobs may be forgotten: those that ended before `endedBefore`, and those beyond the newest `maxJobs`. */
export interface RetentionLimits {
  readonly endedBefore: EpochMs;
  readonly maxJobs: number;
  /** A job that ended since then is kept, however many there are. */
  readonly keptSince: EpochMs;
}

/**
 * What has left memory: finished jobs, and done tasks with their attempts. It is written by `EventStore.append` in the
 * transaction of the events that made it leave; writing a record again changes nothing, so a replay may do so.
 *
 * What is read was durable before. Errors: `store-unavailable`, and `store-corrupt` for a record that is damaged.
 */
export interface Archive {
  /** Null when it is still in memory, was forgotten, or never was. */
  pastJob(jobId: JobId): Promise<FinishedJob | null>;
  pastJobs(query: PastJobQuery): Promise<PastJobPage>;
  /** Those of the tasks that have left, in the order of `indexes`; their job may still be in memory. */
  pastTasks(jobId: JobId, step: string, indexes: readonly number[]): Promise<readonly PastTask[]>;
  /** Jobs that may be forgotten, the first to end first, at most `limit`. */
  forgettableJobs(limits: RetentionLimits, limit: number): Promise<readonly JobId[]>;
  /** Forgets a part of a job: tasks first, itself last. True while something of it remains: call again. Idempotent. */
  forgetJob(jobId: JobId): Promise<boolean>;
}
