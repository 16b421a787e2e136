import { isRecord } from '../../../../shared/job-spec/findings.js';
import { eachIndex, parseRanges } from '../../../../shared/ranges.js';
import type { RemoteJob } from '../../remote-job.js';
import {
  type ExitStatus,
  expectedStart,
  readNodes,
  readReason,
  readState,
  readWaitStatus,
} from '../slurm/slurm-words.js';
import { jobsOf, jobsOfRecords, type RecordRow, type TaskRow } from '../task-rows.js';

/**
 * Slurm's answers over HTTP. Since v0.0.39 numbers are objects that say whether they are set, states are lists, and an
 * exit status is taken apart; before, they are plain. Both are read.
 */
const MAX_ARRAY_TASKS = 1_000_000;

export function readJobs(answer: unknown, user: string): Map<string, RemoteJob> {
  return jobsOf(jobsIn(answer, user).flatMap(rowsOf));
}

function jobsIn(answer: unknown, user: string): Fields[] {
  const jobs = isRecord(answer) && Array.isArray(answer.jobs) ? answer.jobs.filter(isRecord) : [];
  return jobs.filter((job) => job.user_name === user || job.user === user);
}

type Fields = Readonly<Record<string, unknown>>;

function rowsOf(job: Fields): TaskRow[] {
  const arrayId = numberOf(job.array_job_id) ?? 0;
  const index = numberOf(job.array_task_id);
  const known = readState(stateOf(job.job_state), exitStatusOf(job.exit_code));
  const row = {
    jobId: String(arrayId > 0 ? arrayId : (numberOf(job.job_id) ?? 0)),
    tag: textOf(job.name),
    ...known,
    reason: readReason(textOf(job.state_reason)),
    nodes: textOf(job.nodes),
    requeueCount: numberOf(job.restart_cnt) ?? 0,
    ...expectedStart(known.state, numberOf(job.start_time) ?? 0),
  };
  if (arrayId <= 0) return [{ ...row, index: 0, isArray: false }];
  if (index !== undefined) return [{ ...row, index, isArray: true }];
  // Tasks that wait are one record: `1-9%2`.
  return indexesIn(textOf(job.array_task_string)).map((each) => ({ ...row, index: each, isArray: true }));
}

/**
 * The jobs of accounting that have ended. Its answers are of another shape: parts of the state, the array and the times
 * are objects of their own, and of a requeued job there is a record for each time.
 */
export function readRecords(answer: unknown, user: string): Map<string, RemoteJob> {
  return jobsOfRecords(jobsIn(answer, user).flatMap(recordsOf));
}

function recordsOf(job: Fields): RecordRow[] {
  const { state, array, time } = { state: fieldsOf(job.state), array: fieldsOf(job.array), time: fieldsOf(job.time) };
  const arrayId = numberOf(array.job_id) ?? 0;
  const record = {
    jobId: String(arrayId > 0 ? arrayId : (numberOf(job.job_id) ?? 0)),
    tag: textOf(job.name),
    ...readState(stateOf(state.current), exitStatusOf(job.exit_code)),
    reason: readReason(textOf(state.reason)),
    nodes: readNodes(textOf(job.nodes)),
    requeueCount: numberOf(job.restart_cnt) ?? 0,
    submittedAt: numberOf(time.submission) ?? 0,
  };
  const index = numberOf(array.task_id);
  const own = { isArray: arrayId > 0, isShared: false };
  if (arrayId <= 0) return [{ ...record, ...own, index: 0 }];
  if (index !== undefined) return [{ ...record, ...own, index }];
  return indexesOfMask(textOf(array.task)).map((each) => ({ ...record, ...own, isShared: true, index: each }));
}

/** Tasks that were never taken apart, as a mask: `0x3C` is 2-5. Newer servers write ranges. */
function indexesOfMask(text: string): number[] {
  if (!/^0x[0-9a-f]+$/i.test(text)) return indexesIn(text);
  const digits = [...text.slice(2)].reverse();
  return digits.flatMap((digit, place) =>
    BITS.flatMap((bit) => (parseInt(digit, 16) & (1 << bit) ? [place * 4 + bit] : [])),
  );
}

const BITS = [0, 1, 2, 3] as const;

function indexesIn(ranges: string): number[] {
  const indexes = parseRanges(ranges.replace(/%.*$/, ''), MAX_ARRAY_TASKS);
  return typeof indexes === 'string' ? [] : [...eachIndex(indexes)];
}

function fieldsOf(value: unknown): Fields {
  return isRecord(value) ? value : {};
}

export function numberOf(value: unknown): number | undefined {
  if (typeof value === 'number') return value;
  return isRecord(value) && value.set !== false && typeof value.number === 'number' ? value.number : undefined;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** A state with flags, such as RUNNING and COMPLETING, is as the flag says. */
function stateOf(value: unknown): string {
  if (!Array.isArray(value)) return textOf(value);
  return value.includes('COMPLETING') ? 'COMPLETING' : textOf(value[0]);
}

function exitStatusOf(value: unknown): ExitStatus {
  const raw = numberOf(value);
  if (raw !== undefined) return readWaitStatus(raw);
  if (!isRecord(value)) return { exitCode: 0, signal: 0 };
  const signal = isRecord(value.signal) ? (numberOf(value.signal.id) ?? numberOf(value.signal.signal_id)) : undefined;
  return { exitCode: numberOf(value.return_code) ?? 0, signal: signal ?? 0 };
}

/** What an answer complains about, in words that the tools use too; undefined when it does not. */
export function complaintOf(answer: unknown): string | undefined {
  const errors = isRecord(answer) && Array.isArray(answer.errors) ? answer.errors.filter(isRecord) : [];
  const words = errors.flatMap(({ description, error, error_number: number }) => {
    const said = [description, error].filter((word): word is string => typeof word === 'string' && word !== '');
    return said.length > 0 ? [said.join(': ')] : number === undefined ? [] : [`error ${String(number)}`];
  });
  return words.length === 0 ? undefined : words.join(' / ').slice(0, 500);
}

export function partitionsOf(answer: unknown): string[] {
  const partitions = isRecord(answer) && Array.isArray(answer.partitions) ? answer.partitions.filter(isRecord) : [];
  return partitions.map(({ name }) => textOf(name)).filter((name) => name !== '');
}
