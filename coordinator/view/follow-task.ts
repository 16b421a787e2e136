import type { IncomingMessage } from 'node:http';
import type { JobView, OutputStreamName, TaskView } from './api.js';
import { piecesOf } from './client.js';
import { type Context, remark } from './context.js';
import type { OutputPrinter } from './output-printer.js';
import { pause, Reconnecting, untilAnswered } from './retry.js';
import { getTask, taskPath } from './selector.js';
import { STREAM_ANSWER_MS } from './wait.js';

export interface TaskOutput {
  readonly job: JobView;
  /** `7` or `train.7`. */
  readonly task: string;
  /** The newest one, and those after it, when undefined. */
  readonly attempt: number | undefined;
  readonly streams: readonly OutputStreamName[];
  readonly printer: OutputPrinter;
}

export interface FollowedTask extends TaskOutput {
  readonly signal: AbortSignal;
}

const NEXT_ATTEMPT_POLL_MS = 1_000;
const RESUME_MS = 500;

/** Prints what one attempt of a task has put out so far. */
export async function printTaskOutput(context: Context, output: TaskOutput): Promise<void> {
  for (const stream of output.streams) {
    const query = { stream, offset: 0, attempt: output.attempt, follow: false };
    const path = `${taskPath(output.job, output.task)}/logs`;
    const response = await context.api.open({ method: 'GET', path, query });
    let offset = 0;
    for await (const piece of piecesOf(response)) {
      output.printer.print({ label: output.task, stream }, piece);
      offset += piece.length;
    }
    const attempt = Number(response.headers['berth-attempt']);
    const task = await getTask(context.api, output.job, output.task);
    remarkGap(context, { ...output, stream }, { offset, size: sizeOf(task, { attempt, stream }) });
  }
}

/** Prints a task's output to its end, through lost connections by byte offset, and through its further attempts. */
export async function followTask(context: Context, output: FollowedTask): Promise<void> {
  let attempt = output.attempt ?? (await currentAttempt(context, output, 0));
  while (attempt !== undefined) {
    const followed = attempt;
    await Promise.all(output.streams.map((stream) => followStream(context, { ...output, attempt: followed, stream })));
    attempt = output.attempt === undefined ? await currentAttempt(context, output, followed) : undefined;
  }
}

/** The first attempt after `past` that has been placed; undefined when the task ends without one. */
async function currentAttempt(context: Context, output: FollowedTask, past: number): Promise<number | undefined> {
  for (;;) {
    const task = await ask(context, output);
    const newest = task.attempts?.at(-1)?.attempt;
    if (newest !== undefined && newest > past) return newest;
    if (task.state === 'done') return undefined;
    await pause(context.clock, NEXT_ATTEMPT_POLL_MS, output.signal);
  }
}

interface FollowedStream extends FollowedTask {
  readonly attempt: number;
  readonly stream: OutputStreamName;
}

async function followStream(context: Context, output: FollowedStream): Promise<void> {
  const { stream, signal, attempt } = output;
  const reconnecting = new Reconnecting(context, { signal });
  let offset = 0;
  for (;;) {
    const before = offset;
    try {
      const response = await openStream(context, output, offset);
      reconnecting.succeeded();
      for await (const piece of piecesOf(response)) {
        output.printer.print({ label: output.task, stream }, piece);
        offset += piece.length;
      }
    } catch (error) {
      await reconnecting.failed(error);
      continue;
    }
    // A coordinator that stops may close the answer in good order too: only the attempt's size tells.
    const task = await ask(context, output);
    if (isWhole(task, { attempt, stream, offset, before }))
      return remarkGap(context, output, { offset, size: sizeOf(task, output) });
    await pause(context.clock, RESUME_MS, signal);
  }
}

function openStream(context: Context, output: FollowedStream, offset: number): Promise<IncomingMessage> {
  const { job, task, stream, attempt, signal } = output;
  return context.api.open({
    method: 'GET',
    path: `${taskPath(job, task)}/logs`,
    query: { stream, offset, attempt, follow: true },
    answerWithinMs: STREAM_ANSWER_MS,
    signal,
  });
}

interface Reached {
  readonly attempt: number;
  readonly stream: OutputStreamName;
  readonly offset: number;
  readonly before: number;
}

/** Output is never silently short (P9). */
function remarkGap(
  context: Context,
  { job, task, stream }: TaskOutput & { readonly stream: OutputStreamName },
  { offset, size = offset }: { readonly offset: number; readonly size: number | undefined },
): void {
  if (size > offset)
    remark(context, `${size - offset} bytes of ${job.id}.${task}'s ${stream} were dropped, or have not arrived`);
}

/** How much the ended attempt wrote; undefined while it runs, and when nobody knows. */
function sizeOf(task: TaskView, { attempt, stream }: Pick<FollowedStream, 'attempt' | 'stream'>): number | undefined {
  const output = task.attempts?.find((each) => each.attempt === attempt)?.output;
  return stream === 'stdout' ? output?.stdoutBytes : output?.stderrBytes;
}

/** True when the ended attempt has no more of the stream, or the coordinator has no more to give. */
function isWhole(task: TaskView, { attempt, stream, offset, before }: Reached): boolean {
  const view = task.attempts?.find((each) => each.attempt === attempt);
  if (view === undefined) return true;
  if (view.state !== 'ended') return false;
  const size = sizeOf(task, { attempt, stream });
  return size === undefined || offset >= size || offset === before;
}

function ask(context: Context, { job, task, signal }: FollowedTask): Promise<TaskView> {
  return untilAnswered(context, () => getTask(context.api, job, task), { signal });
}
