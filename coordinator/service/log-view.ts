import type { EpochMs } from '../../shared/clock.js';
import { type Refusal, refuse } from '../../shared/errors.js';
import { type AllocationRef, MAIN_STEP, type TaskRef } from '../../shared/ids.js';
import { SPEC_LIMITS } from '../../shared/job-spec/spec.js';
import { parseRanges, rangesHave } from '../../shared/ranges.js';
import { shown } from '../../shared/units.js';
import type { LogStream } from '../../shared/wire/messages.js';
import type { Job } from '../model/job.js';
import { LOG_CHUNK_BYTES, type TaskLogsReader } from './task-logs-reader.js';
import { timeOf } from './time-text.js';

/** What of a job's output is wanted; absent fields want everything. */
export interface LogQuery {
  /** `3,7-9`, or `train.1-10`. */
  readonly task?: string | undefined;
  readonly attempt?: number | undefined;
  readonly stream?: LogStream | undefined;
  /** A duration before now, or a time. */
  readonly since?: string | undefined;
  /** Lines of each stream of each task that have been written already; later ones all come. */
  readonly tail?: number | undefined;
}

/** The same, understood. */
export interface LogView {
  readonly streams: readonly LogStream[];
  readonly attempt: number | undefined;
  readonly since: EpochMs | undefined;
  readonly tail: number | undefined;
  wants(task: TaskRef): boolean;
}

export const EVERYTHING: LogView = {
  streams: ['stdout', 'stderr'],
  attempt: undefined,
  since: undefined,
  tail: undefined,
  wants: () => true,
};

export function viewOf(job: Job, query: LogQuery, now: EpochMs): LogView | Refusal {
  const { stream, attempt, tail } = query;
  const wants = query.task === undefined ? EVERYTHING.wants : wantedTasks(job, query.task);
  const since = query.since === undefined ? undefined : timeOf(query.since, now);
  if (typeof wants === 'string') return refuseField('task', wants);
  if (typeof since === 'string') return refuseField('since', since);
  return { streams: stream === undefined ? EVERYTHING.streams : [stream], attempt, since, tail, wants };
}

function refuseField(field: string, message: string): Refusal {
  return refuse('invalid-request', `${field}: ${message}`, { problems: [{ field, message }] });
}

function wantedTasks(job: Job, text: string): LogView['wants'] | string {
  const [, name, array = ''] = /^(?:([a-z][a-z0-9-]*)\.)?(.*)$/s.exec(text) ?? [];
  const [only] = job.steps.keys();
  const step = name ?? (job.steps.size === 1 ? only : MAIN_STEP);
  if (step === undefined || !job.steps.has(step)) {
    const names = [...job.steps.keys()].slice(0, SHOWN_STEPS).join(', ');
    return `${shown(text)} names no step of ${job.id}; its steps are ${names}; write for example ${only}.1-10`;
  }
  const ranges = parseRanges(array, SPEC_LIMITS.maxTasksPerStep);
  if (typeof ranges === 'string') return ranges;
  return (task) => task.step === step && rangesHave(ranges, task.index);
}

const SHOWN_STEPS = 10;
/** Where to begin in what one stream has: at the time, or so many lines before the end, whichever is later. */
export async function beginningOf(
  logs: TaskLogsReader,
  place: { readonly ref: AllocationRef; readonly stream: LogStream },
  { since, tail }: LogView,
): Promise<number> {
  const { ref, stream } = place;
  const bySince = since === undefined ? 0 : await logs.offsetSince(ref, stream, since);
  return tail === undefined ? bySince : Math.max(bySince, await lastLines(logs, place, tail));
}

/** Longer ends than this are cut: whoever asks for lines does not want a gigabyte of them. */
const MAX_TAIL_BYTES = 16 * 1024 * 1024;
const NEWLINE = 0x0a;

/** Offset of the last `count` lines; one without its newline counts. */
async function lastLines(
  logs: TaskLogsReader,
  { ref, stream }: { readonly ref: AllocationRef; readonly stream: LogStream },
  count: number,
): Promise<number> {
  const size = await logs.size(ref, stream);
  if (count === 0) return size;
  let missing = count;
  for (let end = size; end > 0 && size - end < MAX_TAIL_BYTES; ) {
    const from = Math.max(0, end - LOG_CHUNK_BYTES);
    const bytes = Buffer.from(await logs.read(ref, stream, from, end - from));
    // The newline at the very end closes the last line, and begins none.
    let before = from + bytes.length === size ? bytes.length - 2 : bytes.length - 1;
    for (let at = before < 0 ? -1 : bytes.lastIndexOf(NEWLINE, before); at >= 0; ) {
      missing -= 1;
      if (missing === 0) return from + at + 1;
      before = at - 1;
      at = before < 0 ? -1 : bytes.lastIndexOf(NEWLINE, before);
    }
    end = from;
  }
  return Math.max(0, size - MAX_TAIL_BYTES);
}
