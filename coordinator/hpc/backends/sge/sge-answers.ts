import { isRecord } from '../../../../shared/job-spec/findings.js';
import { SIGNAL_EXIT_BASE } from '../../../../shared/outcome.js';
import { eachIndex, parseRanges } from '../../../../shared/ranges.js';
import type { RemoteOutcome, RemoteState } from '../../remote-job.js';
import type { TaskRow } from '../task-rows.js';

const MAX_ARRAY_TASKS = 1_000_000;

/** The rows of `qstat -xml -g d`, already parsed: jobs that wait and jobs that run, one a task. Source: qstat(1). */
export function rowsOfQueue(document: unknown): TaskRow[] {
  const lists = [at(document, 'job_info', 'queue_info', 'job_list'), at(document, 'job_info', 'job_info', 'job_list')];
  return lists
    .flatMap((list) => (Array.isArray(list) ? list : [list]))
    .flatMap((job) => (isRecord(job) ? rowsOfJob(job) : []));
}

function rowsOfJob(job: Readonly<Record<string, unknown>>): TaskRow[] {
  const word = String(job.state ?? '');
  const queue = String(job.queue_name ?? '');
  const row = {
    jobId: String(job.JB_job_number),
    tag: String(job.JB_name ?? ''),
    state: stateOf(word),
    outcome: null,
    reason: reasonOf(word),
    nodes: queue.slice(queue.indexOf('@') + 1),
    requeueCount: word.includes('R') ? 1 : 0,
  };
  if (job.tasks === undefined) return [{ ...row, index: 0, isArray: false }];
  const indexes = parseRanges(String(job.tasks).replace(/:1$/, ''), MAX_ARRAY_TASKS);
  if (typeof indexes === 'string') return [];
  return [...eachIndex(indexes)].map((index) => ({ ...row, index, isArray: true }));
}

/** `qw` waits, `r` and `t` run, `d` before either is being deleted; Rr runs again. */
function stateOf(word: string): RemoteState {
  if (word.includes('d')) return 'completing';
  return /[rtsST]/.test(word.replace('R', '')) ? 'running' : 'pending';
}

function reasonOf(word: string): string {
  if (word.startsWith('E')) return 'in an error state: qstat -j tells why';
  return word.includes('h') ? 'held' : '';
}

/** The rows of `qacct -j`: a paragraph for each task that has ended, or has been started anew. Source: accounting(5). */
export function rowsOfAccounting(text: string): TaskRow[] {
  const last = new Map<string, TaskRow>();
  for (const paragraph of text.split(/^=+$/m)) {
    const fields = new Map(
      paragraph.split('\n').flatMap((line) => {
        const match = /^(\w+)\s+(.*?)\s*$/.exec(line);
        return match ? [[match[1] ?? '', match[2] ?? ''] as const] : [];
      }),
    );
    const jobId = fields.get('jobnumber');
    if (jobId === undefined) continue;
    const task = fields.get('taskid') ?? 'undefined';
    const key = `${jobId} ${task}`;
    const before = last.get(key);
    last.set(key, {
      jobId,
      tag: fields.get('jobname') ?? '',
      isArray: task !== 'undefined',
      index: task === 'undefined' ? 0 : Number(task),
      state: 'ended',
      outcome: outcomeOf(fields),
      reason: Number.parseInt(fields.get('failed') ?? '0', 10) === 0 ? '' : (fields.get('failed') ?? ''),
      nodes: fields.get('hostname') ?? '',
      requeueCount: before ? before.requeueCount + 1 : 0,
    });
  }
  return [...last.values()];
}

/** Codes of `failed`. Source: sge_status(5). */
const ENDED_BY_SIGNAL = 100;
const LIMIT_ENFORCED = 37;

function outcomeOf(fields: ReadonlyMap<string, string>): RemoteOutcome {
  const failed = Number.parseInt(fields.get('failed') ?? '0', 10);
  const exitCode = Number.parseInt(fields.get('exit_status') ?? '0', 10);
  if (failed === LIMIT_ENFORCED) return { kind: 'timed-out' };
  if (failed === ENDED_BY_SIGNAL && exitCode > SIGNAL_EXIT_BASE) {
    return { kind: 'failed', exitCode: null, signal: exitCode - SIGNAL_EXIT_BASE };
  }
  if (failed !== 0) return { kind: 'failed', exitCode: null, signal: null };
  return exitCode === 0 ? { kind: 'completed' } : { kind: 'failed', exitCode, signal: null };
}

function at(value: unknown, ...path: readonly string[]): unknown {
  let found = value;
  for (const key of path) found = isRecord(found) ? found[key] : undefined;
  return found;
}
