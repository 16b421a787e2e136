import { eachIndex, parseRanges } from '../../../../shared/ranges.js';
import type { RemoteJob } from '../../remote-job.js';
import { jobsOf, jobsOfRecords, type RecordRow, type TaskRow } from '../task-rows.js';
import {
  type ExitStatus,
  expectedStart,
  readExitPair,
  readNodes,
  readReason,
  readState,
  readWaitStatus,
} from './slurm-words.js';

/** What squeue is asked for: fields of any width, ended by a bar. Source: squeue(1), --Format. */
export const QUEUE_FORMAT =
  'JobID:|,ArrayJobID:|,ArrayTaskID:|,State:|,exit_code:|,RestartCnt:|,NodeList:|,Name:|,Reason:|,StartTime:|';
export const ACCOUNTING_FORMAT = 'JobID,State,ExitCode,NodeList,JobName,Reason,Submit';
const MAX_ARRAY_TASKS = 1_000_000;

/** The jobs of `squeue --noheader --array --Format=QUEUE_FORMAT`, by id, in the order of their ids. */
export function readQueue(text: string): Map<string, RemoteJob> {
  return jobsOf(
    text.split('\n').flatMap((line) => {
      const [, jobId, task = '', state = '', status, restarts, nodes = '', tag = '', reason = '', start] =
        line.split('|');
      if (jobId === undefined) return [];
      const exit = readWaitStatus(Number(status));
      return [row({ jobId, task: task === 'N/A' ? '' : task, state, exit, nodes, tag, reason, restarts, start })];
    }),
  );
}

/** The ended jobs of `sacct --noheader --parsable2 --allocations --duplicates --format=ACCOUNTING_FORMAT`. */
export function readAccounting(text: string): Map<string, RemoteJob> {
  return jobsOfRecords(
    text.split('\n').flatMap((line) => {
      const [id = '', state, status = '', nodes = '', tag = '', reason = '', submit] = line.split('|');
      if (state === undefined) return [];
      const [jobId = '', task = ''] = id.split('_');
      const exit = readExitPair(status);
      const submittedAt = Number(submit) || 0;
      const cells = { jobId, state, exit, nodes: readNodes(nodes), tag, reason };
      const isShared = task.startsWith('[');
      return tasksIn(task).map((each): RecordRow => ({ ...row({ ...cells, task: each }), submittedAt, isShared }));
    }),
  );
}

/** `3` is one task; tasks that were never taken apart are one row, `[4-9%2]`. */
function tasksIn(task: string): string[] {
  if (!task.startsWith('[')) return [task];
  const indexes = parseRanges(task.replace(/[[\]]|%.*/g, ''), MAX_ARRAY_TASKS);
  return typeof indexes === 'string' ? [] : [...eachIndex(indexes)].map(String);
}

interface Cells {
  readonly jobId: string;
  /** An index; empty for a job that is no array. */
  readonly task: string;
  readonly state: string;
  readonly exit: ExitStatus;
  readonly nodes: string;
  readonly tag: string;
  readonly reason: string;
  readonly restarts?: string | undefined;
  /** Epoch seconds, or a word when there is none. */
  readonly start?: string | undefined;
}

function row({ jobId, task, state, exit, nodes, tag, reason, restarts, start }: Cells): TaskRow {
  const known = readState(state, exit);
  return {
    jobId,
    tag,
    isArray: task !== '',
    index: Number(/\d+/.exec(task)?.[0] ?? 0),
    ...known,
    reason: readReason(reason),
    nodes: readNodes(nodes),
    requeueCount: Number(restarts ?? 0) || 0,
    ...expectedStart(known.state, Number(start)),
  };
}
