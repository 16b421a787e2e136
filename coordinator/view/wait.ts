import type { JobView } from './api.js';
import { segment } from './client.js';
import type { Context } from './context.js';
import { untilAnswered } from './retry.js';

/** The longest that the coordinator holds a question open, less a margin. */
const LONG_POLL_SECONDS = 55;
/** Somebody watches the counts move. */
const WATCHED_POLL_SECONDS = 1;
/** The first answer comes sooner, to tell early why a job waits. */
const FIRST_POLL_SECONDS = 5;
const ANSWER_MARGIN_MS = 15_000;
/** A followed stream's answer may begin only when its task does. */
export const STREAM_ANSWER_MS = 60 * 60 * 1000;

export interface WaitOptions {
  readonly signal: AbortSignal;
  readonly isWatched: boolean;
  /** Every view that arrives, the last one included. */
  seen?(job: JobView): void;
}

/**
 * Resolves with the job once it is finished. Survives any loss of the coordinator until `signal` is aborted.
 *
 * Throws: the signal's reason; what the coordinator answers when the job is unknown or the token refused.
 */
export async function waitUntilFinished(context: Context, jobId: string, options: WaitOptions): Promise<JobView> {
  let seconds = FIRST_POLL_SECONDS;
  for (;;) {
    if (options.isWatched) seconds = WATCHED_POLL_SECONDS;
    const job = await untilAnswered(context, () => longPoll(context, { jobId, seconds, signal: options.signal }), {
      signal: options.signal,
    });
    options.seen?.(job);
    if (job.state === 'finished') return job;
    options.signal.throwIfAborted();
    seconds = LONG_POLL_SECONDS;
  }
}

interface Poll {
  readonly jobId: string;
  readonly seconds: number;
  readonly signal: AbortSignal;
}

function longPoll(context: Context, { jobId, seconds, signal }: Poll): Promise<JobView> {
  return context.api.get<JobView>(`/jobs/${segment(jobId)}`, {
    query: { waitFor: 'finished', timeout: `${seconds}s` },
    answerWithinMs: seconds * 1000 + ANSWER_MARGIN_MS,
    signal,
  });
}
