import type { JobView } from './api.js';
import { type Context, remark, type StopSignal } from './context.js';
import { EXIT, exitCodeOfJob, exitCodeOfSignal } from './exit-code.js';
import { followJob } from './follow-job.js';
import { jobEnding } from './format/job.js';
import { OutputPrinter } from './output-printer.js';
import { type Progress, startProgress } from './progress.js';
import { waitUntilFinished } from './wait.js';

export interface AttendOptions {
  readonly timeoutMs: number | null;
  /** Print the tasks' output as it comes. */
  readonly showsOutput: boolean;
}

/** Stays with the jobs until all are finished, or until the person or the time limit ends that; the jobs go on. */
export async function attend(context: Context, jobs: readonly JobView[], options: AttendOptions): Promise<number> {
  const jobIds = jobs.map((job) => job.id);
  return detachable(context, { jobIds, timeoutMs: options.timeoutMs }, async (signal) => {
    const progress = await startProgress(context);
    try {
      let highest = 0;
      for (const job of jobs) highest = Math.max(highest, await attendOne(progress, { ...options, job, signal }));
      return highest;
    } finally {
      progress.end();
    }
  });
}

interface One extends AttendOptions {
  readonly job: JobView;
  readonly signal: AbortSignal;
}

async function attendOne(progress: Progress, { job, showsOutput, signal }: One): Promise<number> {
  const { context } = progress;
  const over = new AbortController();
  const eitherSignal = AbortSignal.any([signal, over.signal]);
  const reasons = reasonTeller(progress);
  try {
    const finished = waitUntilFinished(context, job.id, {
      signal: eitherSignal,
      isWatched: context.err.isTerminal,
      seen: reasons,
    });
    const printer = new OutputPrinter(context, { isPrefixed: job.taskCount > 1, streams: ['stdout', 'stderr'] });
    const output = showsOutput ? followJob(context, { job, printer, signal: eitherSignal, finished }) : undefined;
    const [ended] = await Promise.all([finished, output]);
    progress.end();
    tellEnding(context, ended, showsOutput);
    return exitCodeOfJob(ended);
  } finally {
    over.abort();
  }
}

/** Without a progress line, says once why a job waits: nothing waits silently. */
function reasonTeller(progress: Progress): (job: JobView) => void {
  let told: string | null = null;
  return (job) => {
    progress.show(job);
    if (progress.context.err.isTerminal || job.waitingReason === null || job.waitingReason === told) return;
    told = job.waitingReason;
    remark(progress.context, `${job.id} waits: ${job.waitingReason}`);
  };
}

/** After its output, a plain success or the task's own exit code needs no words; everything else does. */
function tellEnding(context: Context, job: JobView, showsOutput: boolean): void {
  const isFailure = job.outcome !== 'succeeded';
  const isOfBerth = isFailure && exitCodeOfJob(job) >= EXIT.failure;
  if (!showsOutput || isOfBerth || (isFailure && context.err.isTerminal)) remark(context, jobEnding(job));
}

export interface Detachable {
  readonly jobIds: readonly string[];
  readonly timeoutMs: number | null;
}

type Ending = { readonly kind: 'signal'; readonly signal: StopSignal } | { readonly kind: 'timeout' };

/**
 * Runs `work` until it is done, a signal comes, or `timeoutMs` has passed. In the last two cases it prints how to come
 * back; a second signal finds no listener and ends the process at once.
 *
 * @returns the work's exit code; 128 + n after a signal; 124 after the time limit
 */
export async function detachable(
  context: Context,
  { jobIds, timeoutMs }: Detachable,
  work: (signal: AbortSignal) => Promise<number>,
): Promise<number> {
  const stop = new AbortController();
  let ending: Ending | undefined;
  const end = (cause: Ending): void => {
    ending ??= cause;
    stop.abort(new Error(cause.kind));
    ignoreSignals();
  };
  const ignoreSignals = context.onSignal((signal) => end({ kind: 'signal', signal }));
  const cancelTimer = timeoutMs === null ? undefined : context.clock.after(timeoutMs, () => end({ kind: 'timeout' }));
  try {
    return await work(stop.signal);
  } catch (error) {
    if (ending === undefined) throw error;
    remark(context, `${ending.kind === 'timeout' ? 'the time limit has passed' : 'detached'}; ${comeBack(jobIds)}`);
    return ending.kind === 'timeout' ? EXIT.timedOut : exitCodeOfSignal(ending.signal);
  } finally {
    ignoreSignals();
    cancelTimer?.();
  }
}

function comeBack(jobIds: readonly string[]): string {
  const ids = jobIds.join(' ');
  const verb = jobIds.length === 1 ? 'continues' : 'continue';
  if (jobIds.length === 0) return 'run the command again to come back';
  return [
    `${ids} ${verb}. Come back with:`,
    `  berth logs -f ${jobIds[0]}`,
    `  berth wait ${ids}`,
    `  berth cancel ${ids}`,
  ].join('\n');
}
