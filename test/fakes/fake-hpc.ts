import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { type HpcBackend, HpcError } from '../../coordinator/hpc/backend.js';
import {
  jobOfTasks,
  outcomeOfExitCode,
  type RemoteOutcome,
  type RemoteTask,
} from '../../coordinator/hpc/remote-job.js';
import { localShell } from '../../coordinator/hpc/shell/local-shell.js';
import { shellFiles } from '../../coordinator/hpc/shell/shell-files.js';
import { SCRIPT_FILE, type Submission } from '../../coordinator/hpc/submission.js';
import { eachIndex, parseRanges } from '../../shared/ranges.js';

const PARTITIONS = ['main', 'closed'];

interface FakeJob {
  readonly id: string;
  readonly submission: Submission;
  readonly tasks: Map<number, FakeTask>;
}

interface FakeTask {
  child: ChildProcess | undefined;
  outcome: RemoteOutcome | null;
}

/**
 * A batch system in memory, which runs real batch scripts as processes of this machine. Several backends may be opened
 * on one site; what goes wrong there is the test's to say.
 */
export class FakeSite {
  readonly #jobs = new Map<string, FakeJob>();
  readonly calls: string[] = [];
  #lastId = 0;
  /** Thrown by every call while it is set. */
  trouble: HpcError | undefined;
  maxArraySize = 1_001;

  open(partition: string | null = null): HpcBackend {
    const asked = (call: string, signal: AbortSignal): void => {
      this.calls.push(call);
      if (signal.aborted) throw new HpcError('unavailable', 'no longer wanted');
      if (this.trouble) throw this.trouble;
    };
    return {
      files: shellFiles(localShell({ PATH: process.env.PATH ?? '' })),
      check: async (signal) => {
        asked('check', signal);
        if (partition !== null && !PARTITIONS.includes(partition)) throw unknownPartition(partition);
        return { system: 'fake 1', partitions: PARTITIONS, hasAccounting: false, maxArraySize: this.maxArraySize };
      },
      submit: async (submission, signal) => {
        asked('submit', signal);
        return this.#submit(submission);
      },
      find: async (tag, signal) => {
        asked('find', signal);
        return [...this.#jobs.values()].filter((job) => job.submission.tag === tag).map(view);
      },
      statusOf: async (ids, signal) => {
        asked('statusOf', signal);
        const found = ids.flatMap((id) => this.#jobs.get(id) ?? []);
        return new Map(found.map((job) => [job.id, view(job)]));
      },
      cancel: async (id, signal) => {
        asked('cancel', signal);
        for (const task of this.#jobs.get(id)?.tasks.values() ?? []) endTask(task);
      },
      close: async () => undefined,
    };
  }

  /** As a controller does, some time after a job has ended. */
  forget(id: string): void {
    this.#jobs.delete(id);
  }

  /** Ends what still runs. */
  close(): void {
    for (const { tasks } of this.#jobs.values()) for (const task of tasks.values()) endTask(task);
  }

  #submit(submission: Submission): string {
    const { tag, options } = submission;
    const known = [...this.#jobs.values()].find((job) => job.submission.tag === tag);
    if (known) return known.id;
    if (!PARTITIONS.includes(options.partition ?? 'main')) throw unknownPartition(options.partition ?? '');
    const indexes = parseRanges(options.array ?? '0', 1_000);
    const isTooLarge = typeof indexes === 'string' || [...eachIndex(indexes)].some((each) => each >= this.maxArraySize);
    if (isTooLarge) throw new HpcError('refused', `Invalid job array specification: ${options.array}`);
    this.#lastId += 1;
    const job: FakeJob = { id: String(this.#lastId), submission, tasks: new Map() };
    this.#jobs.set(job.id, job);
    for (const index of eachIndex(indexes)) {
      const task: FakeTask = { child: undefined, outcome: null };
      job.tasks.set(index, task);
      if (options.partition !== 'closed') start(job, index, task);
    }
    return job.id;
  }
}

function start({ id, submission }: FakeJob, index: number, task: FakeTask): void {
  const env = { PATH: process.env.PATH, SLURM_JOB_ID: id, SLURM_ARRAY_JOB_ID: id, SLURM_ARRAY_TASK_ID: String(index) };
  task.child = spawn('/bin/sh', [join(submission.work, SCRIPT_FILE)], { env, stdio: 'ignore', detached: true });
  task.child.on('exit', (code) => {
    task.outcome ??= code === null ? { kind: 'failed', exitCode: null, signal: 9 } : outcomeOfExitCode(code);
  });
}

function endTask(task: FakeTask): void {
  if (task.outcome) return;
  task.outcome = { kind: 'canceled' };
  try {
    if (task.child?.pid !== undefined) process.kill(-task.child.pid, 'SIGKILL');
  } catch {
    // It has just ended by itself.
  }
}

function view({ id, submission, tasks }: FakeJob): ReturnType<typeof jobOfTasks> {
  const states = [...tasks].map(([index, { child, outcome }]): RemoteTask => {
    const state = outcome ? 'ended' : child ? 'running' : 'pending';
    return { index, state, reason: child ? '' : 'closed', nodes: child ? 'fake' : '', requeueCount: 0, outcome };
  });
  const job = jobOfTasks(id, submission.tag, states);
  return submission.options.array === undefined ? { ...job, tasks: [] } : job;
}

function unknownPartition(name: string): HpcError {
  return new HpcError('refused', `there is no partition ${name}; there are ${PARTITIONS.join(', ')}`);
}
