import type { Cancel, Clock } from '../shared/clock.js';
import type { JobId } from '../shared/ids.js';
import type { Log } from '../shared/log.js';
import { KEY_LIFETIME_MS } from './model/state.js';
import type { Archive } from './store/archive.js';

export const RETENTION = {
  /** Jobs kept in the archive, the newest; what ended within a day is kept beyond them. */
  maxJobs: 100_000,
  everyMs: 60_000,
  /** Jobs forgotten before others get their turn. */
  jobsPerRound: 100,
  /** Between two rounds while there is more to forget. */
  pauseMs: 1_000,
} as const;

export interface RetentionOptions {
  readonly archive: Pick<Archive, 'forgettableJobs' | 'forgetJob'>;
  /** Removes a part of a job's output; true while some of it remains. */
  readonly removeOutput: (jobId: JobId) => Promise<boolean>;
  /** How long a job that has left memory can be asked for, from its end on. */
  readonly keepMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Forgets archived jobs that are too old or too many, a few at a time, with what their tasks wrote.
 *
 * Output goes first: a job that is still known is found and forgotten again after a crash, a folder without one never.
 */
export class Retention {
  readonly #options: RetentionOptions;
  #cancel: Cancel = () => {};
  #isStopped = false;
  #round: Promise<void> = Promise.resolve();

  constructor(options: RetentionOptions) {
    this.#options = options;
    this.#wait(RETENTION.everyMs);
  }

  /** Waits for the round that is under way. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancel();
    await this.#round;
  }

  #wait(delayMs: number): void {
    if (this.#isStopped) return;
    this.#cancel = this.#options.clock.after(delayMs, () => {
      this.#round = this.#runRound();
    });
  }

  async #runRound(): Promise<void> {
    let forgottenCount = 0;
    try {
      forgottenCount = await this.#forgetSome();
    } catch (error) {
      this.#options.log.warn('old jobs could not be forgotten; they will be tried again', { error });
    }
    this.#wait(forgottenCount === RETENTION.jobsPerRound ? RETENTION.pauseMs : RETENTION.everyMs);
  }

  async #forgetSome(): Promise<number> {
    const { archive, removeOutput, keepMs, clock, log } = this.#options;
    const now = clock.now();
    // A key stands for its job for a day (P2), so that long the job must be there.
    const keptSince = now - KEY_LIFETIME_MS;
    const limits = { endedBefore: now - keepMs, maxJobs: RETENTION.maxJobs, keptSince };
    const jobIds = await archive.forgettableJobs(limits, RETENTION.jobsPerRound);
    for (const jobId of jobIds) {
      while (!this.#isStopped && (await removeOutput(jobId)));
      while (!this.#isStopped && (await archive.forgetJob(jobId)));
      if (this.#isStopped) return 0;
    }
    if (jobIds.length > 0) log.info('old jobs forgotten', { jobCount: jobIds.length });
    return jobIds.length;
  }
}
