import type { JobView, OutputChunk, OutputStreamName } from './api.js';
import { piecesOf, segment } from './client.js';
import { type Context, remark } from './context.js';
import { linesOf } from './lines.js';
import type { OutputPrinter } from './output-printer.js';
import { pause, Reconnecting } from './retry.js';
import { STREAM_ANSWER_MS } from './wait.js';

/** After the job's end, output that is still on its way from a node is awaited for as long as it keeps coming, and this. */
const LATE_OUTPUT_MS = 10_000;
const LATE_CHECK_MS = 500;
/** Pause before an answer that ended early is asked for again. */
const RESUME_MS = 500;

export interface FollowOptions {
  readonly job: JobView;
  readonly printer: OutputPrinter;
  readonly selection?: LogSelection;
  readonly signal: AbortSignal;
  /** Resolves when the job is known to be finished. */
  readonly finished: Promise<unknown>;
}

/** What of a job's output is wanted, as the interface's query has it. */
export interface LogSelection {
  readonly task?: string;
  readonly attempt?: number;
  readonly stream?: OutputStreamName;
  readonly since?: string;
  readonly tail?: number;
}

/** Where each stream of each attempt has been printed up to: what makes a repeated answer harmless. */
type Offsets = Map<string, number>;

/** Prints all output of a job once, in spite of lost connections: the answer is read again and what is known skipped. */
export async function followJob(context: Context, options: FollowOptions): Promise<void> {
  const { job, signal } = options;
  // The wait for the job's end, which always runs beside this, is the one that tells of a lost coordinator.
  const reconnecting = new Reconnecting(context, { signal, isSilent: true });
  const offsets: Offsets = new Map();
  const late = watchLateOutput(context, options);
  try {
    for (;;) {
      try {
        const wasFinished = late.isFinished();
        await copyOnce(context, { options, offsets, signal: late.signal, arrived: late.arrived });
        reconnecting.succeeded();
        // A coordinator that stops may close the answer in good order too: only the job's state tells.
        if (wasFinished || (await isJobFinished(context, job, signal))) return;
        await pause(context.clock, RESUME_MS, signal);
      } catch (error) {
        if (late.signal.aborted && !signal.aborted)
          return remark(context, 'some output has not arrived; see `berth logs` later');
        await reconnecting.failed(error);
      }
    }
  } finally {
    late.stop();
    options.printer.end();
  }
}

export interface JobOutput {
  readonly job: JobView;
  readonly printer: OutputPrinter;
  readonly selection?: LogSelection;
}

/** Prints what a job has put out so far. */
export async function printJobOutput(context: Context, { job, printer, selection }: JobOutput): Promise<void> {
  const path = `/jobs/${segment(job.id)}/logs`;
  const response = await context.api.open({ method: 'GET', path, query: { ...selection, follow: false } });
  const offsets: Offsets = new Map();
  for await (const line of linesOf(piecesOf(response))) printLine(context, { line, offsets, job, printer });
  printer.end();
}

interface Copy {
  readonly options: FollowOptions;
  readonly offsets: Offsets;
  readonly signal: AbortSignal;
  arrived(): void;
}

async function copyOnce(context: Context, { options, offsets, signal, arrived }: Copy): Promise<void> {
  const { job, printer } = options;
  const path = `/jobs/${segment(job.id)}/logs`;
  const response = await context.api.open({
    method: 'GET',
    path,
    query: { ...again(options.selection, offsets), follow: true },
    answerWithinMs: STREAM_ANSWER_MS,
    signal,
  });
  for await (const line of linesOf(piecesOf(response))) {
    arrived();
    printLine(context, { line, offsets, job, printer });
  }
}

/** Old lines are left out once; what the first answer began with is known to the next ones. */
function again(selection: LogSelection | undefined, offsets: Offsets): LogSelection {
  const { tail, ...always } = selection ?? {};
  return offsets.size === 0 && tail !== undefined ? { ...always, tail } : always;
}

interface Line {
  readonly line: string;
  readonly offsets: Offsets;
  readonly job: JobView;
  readonly printer: OutputPrinter;
}

function printLine(context: Context, { line, offsets, job, printer }: Line): void {
  if (line.trim() === '') return;
  const chunk = JSON.parse(line) as OutputChunk;
  if (chunk.missingBytes !== undefined) {
    remark(context, `${chunk.missingBytes} bytes of ${chunk.task}'s ${chunk.stream} were dropped, or have not arrived`);
    return;
  }
  const bytes = chunk.base64 === undefined ? Buffer.from(chunk.text ?? '') : Buffer.from(chunk.base64, 'base64');
  const key = `${chunk.task}#${chunk.attempt}/${chunk.stream}`;
  // An empty piece says where a stream is begun of which the beginning is not wanted.
  const known = offsets.get(key) ?? (bytes.length === 0 ? chunk.offset : 0);
  const end = chunk.offset + bytes.length;
  if (bytes.length === 0) offsets.set(key, known);
  if (end <= known) return;
  if (chunk.offset > known)
    remark(context, `${chunk.offset - known} bytes of ${chunk.task}'s ${chunk.stream} are lost`);
  const origin = { label: labelOf(job, chunk.task), stream: chunk.stream, at: chunk.at };
  printer.print(origin, bytes.subarray(Math.max(0, known - chunk.offset)));
  offsets.set(key, end);
}

/** The task as its job's reader names it: `7`, or `train.7`. */
function labelOf(job: JobView, task: string): string {
  return task.startsWith(`${job.id}.`) ? task.slice(job.id.length + 1) : task;
}

async function isJobFinished(context: Context, job: JobView, signal: AbortSignal): Promise<boolean> {
  return (await context.api.get<JobView>(`/jobs/${segment(job.id)}`, { signal })).state === 'finished';
}

/** Ends the stream when the job is finished and nothing has arrived for LATE_OUTPUT_MS. */
function watchLateOutput(context: Context, { finished, signal }: FollowOptions) {
  const { clock } = context;
  const giveUp = new AbortController();
  let isFinished = false;
  let isStopped = false;
  let arrivedAt = 0;
  let cancelCheck = (): void => {};
  const check = (): void => {
    if (clock.monotonic() - arrivedAt >= LATE_OUTPUT_MS) giveUp.abort(new Error('late output'));
    else cancelCheck = clock.after(LATE_CHECK_MS, check);
  };
  const onFinished = (): void => {
    if (isStopped) return;
    isFinished = true;
    arrivedAt = clock.monotonic();
    check();
  };
  // A failed wait is its owner's to report; here it only means that the end is not known.
  finished.then(onFinished, () => {});
  return {
    signal: AbortSignal.any([signal, giveUp.signal]),
    isFinished: () => isFinished,
    arrived: () => {
      arrivedAt = clock.monotonic();
    },
    stop: () => {
      isStopped = true;
      cancelCheck();
    },
  };
}
