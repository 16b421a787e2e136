import { CODES, isAppError } from '../../shared/errors.js';
import { CANCELED_EXIT, SIGNAL_EXIT_BASE, SYSTEM_FAILURE_EXIT, signalNumber } from '../../shared/outcome.js';
import type { JobView } from './api.js';

/**
 * What `berth` exits with. A waiting command exits with the task's own code; an array or several jobs with the highest.
 *
 *   0         it succeeded            69        no coordinator, or it cannot answer now
 *   1 - 124   the task's own code     77        not permitted
 *   64        bad usage or spec       124       the waiting client's own time limit passed; the job continues
 *   125       Berth failed            128 + n   signal n; 130 also for a canceled job
 *
 * Every other failure has its code in the row of `CODES` that names it.
 */
export const EXIT = {
  succeeded: 0,
  usage: 64,
  unreachable: 69,
  timedOut: 124,
  failure: SYSTEM_FAILURE_EXIT,
} as const;

export function exitCodeOfError(error: unknown): number {
  return isAppError(error) ? CODES[error.code].exitCode : EXIT.failure;
}

export function exitCodeOfSignal(signal: string): number {
  return SIGNAL_EXIT_BASE + signalNumber(signal);
}

/** The exit code with which a waiting client speaks for a finished job. */
export function exitCodeOfJob(job: JobView): number {
  if (job.exitCode !== null) return job.exitCode;
  switch (job.outcome) {
    case 'succeeded':
      return EXIT.succeeded;
    case 'canceled':
      return CANCELED_EXIT;
    default:
      return EXIT.failure;
  }
}
