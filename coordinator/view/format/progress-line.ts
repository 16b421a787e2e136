import type { EpochMs } from '../../../shared/clock.js';
import type { JobView } from '../api.js';
import { countsText, doneCount, jobState } from './job.js';
import { truncate } from './text.js';
import { age } from './time.js';

const BAR_COLUMNS = 20;

export interface ProgressScreen {
  readonly now: EpochMs;
  readonly columns: number;
}

/** Where a job stands, in one line; null when a single task runs, whose own output says enough. */
export function progressLine(job: JobView, { now, columns }: ProgressScreen): string | null {
  const isSingle = job.taskCount === 1;
  const isRunning = job.counts.placed > 0 && job.waitingReason === null;
  if (job.state === 'finished' || (isSingle && isRunning)) return null;
  const since = age(job.submittedAt, now);
  const waits = job.waitingReason === null ? '' : `: ${job.waitingReason}`;
  const line = isSingle
    ? `${job.id} ${jobState(job)} ${since}${waits}`
    : `${job.id} ${bar(job)} ${doneCount(job.counts)}/${job.taskCount}  ${countsText(job.counts)}  ${since}${waits}`;
  return truncate(line, columns - 1);
}

function bar(job: JobView): string {
  const filled = Math.floor((doneCount(job.counts) / Math.max(1, job.taskCount)) * BAR_COLUMNS);
  return `${'█'.repeat(filled)}${'░'.repeat(BAR_COLUMNS - filled)}`;
}
