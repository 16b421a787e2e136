import { isRecord } from '../../../../shared/job-spec/findings.js';
import { HpcError } from '../../backend.js';
import { jobOfTasks, type RemoteJob, type RemoteOutcome, type RemoteState, type RemoteTask } from '../../remote-job.js';

const STATES: readonly RemoteState[] = ['pending', 'running', 'completing', 'ended'];
const OUTCOMES = ['completed', 'canceled', 'timed-out', 'out-of-memory', 'node-failed', 'preempted'] as const;

/**
 * Jobs as a site's own tool prints them, one JSON object a line:
 *
 *   {"id": "7", "tag": "berth-x", "state": "running", "reason": "", "nodes": "n1"}
 *   {"id": "8", "tag": "berth-y", "state": "ended", "exitCode": 3}
 *   {"id": "9", "tag": "berth-z", "state": "ended", "tasks": [{"index": 1, "state": "ended", "outcome": "timed-out"}]}
 *
 * Throws `configuration`, with the line, for one that is none of these.
 */
export function readJobLines(text: string): Map<string, RemoteJob> {
  const jobs = new Map<string, RemoteJob>();
  for (const line of text.split('\n')) {
    if (line.trim() === '') continue;
    const job = readJob(parse(line), line);
    jobs.set(job.id, job);
  }
  return jobs;
}

function readJob(value: unknown, line: string): RemoteJob {
  if (
    !isRecord(value) ||
    (typeof value.id !== 'string' && typeof value.id !== 'number') ||
    typeof value.tag !== 'string'
  ) {
    throw new HpcError(
      'configuration',
      `the status command printed ${line.slice(0, 200)}; a job has an "id" and a "tag"`,
    );
  }
  const id = String(value.id);
  if (Array.isArray(value.tasks) && value.tasks.length > 0) {
    return jobOfTasks(
      id,
      value.tag,
      value.tasks.map((task) => readTask(task, line)),
    );
  }
  const { index: _, ...rest } = readTask({ index: 0, ...value }, line);
  return { id, tag: value.tag, tasks: [], ...rest };
}

function readTask(value: unknown, line: string): RemoteTask {
  const state = isRecord(value) ? STATES.find((known) => known === value.state) : undefined;
  if (!isRecord(value) || state === undefined || typeof value.index !== 'number') {
    const remedy = `"state" is one of ${STATES.join(', ')}, and a task has an "index"`;
    throw new HpcError('configuration', `the status command printed ${line.slice(0, 200)}; ${remedy}`);
  }
  const { index, reason, nodes, requeues } = value;
  return {
    index,
    state,
    reason: typeof reason === 'string' ? reason : '',
    nodes: typeof nodes === 'string' ? nodes : '',
    requeueCount: typeof requeues === 'number' ? requeues : 0,
    outcome: state === 'ended' ? readOutcome(value) : null,
  };
}

function readOutcome({ outcome, exitCode, signal }: Readonly<Record<string, unknown>>): RemoteOutcome {
  const named = OUTCOMES.find((kind) => kind === outcome);
  if (named !== undefined) return { kind: named };
  if (typeof signal === 'number' && signal > 0) return { kind: 'failed', exitCode: null, signal };
  if (typeof exitCode === 'number')
    return exitCode === 0 ? { kind: 'completed' } : { kind: 'failed', exitCode, signal: null };
  return { kind: 'unknown', message: 'the status command told neither an outcome nor an exit code' };
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch {
    return undefined;
  }
}
