/**
 * A job as a remote batch system tells of it: plain data, the same for every kind of system.
 *
 * A remote job goes pending → running → completing → ended, and from running back to pending when the site requeues it.
 */
export interface RemoteJob {
  /** As the system names it; of an array, its common id. */
  readonly id: string;
  /** The name under which it was submitted and is found again. */
  readonly tag: string;
  readonly state: RemoteState;
  /** Why it is in that state, in the system's own words; empty when it says nothing. */
  readonly reason: string;
  /** As the system writes them: `n[1-4]`; empty before it has any. */
  readonly nodes: string;
  /** How often the site has put it back into its queue. */
  readonly requeueCount: number;
  /** When the system expects it to start, in epoch ms of its own clock; absent when it does not say, and after the start. */
  readonly expectedAt?: number;
  /** Null until it has ended. An array's is that of its worst task. */
  readonly outcome: RemoteOutcome | null;
  /** Of an array, what is known of each task; empty otherwise. */
  readonly tasks: readonly RemoteTask[];
}

export type RemoteTask = Omit<RemoteJob, 'id' | 'tag' | 'tasks'> & { readonly index: number };

export type RemoteState = 'pending' | 'running' | 'completing' | 'ended';

export type RemoteOutcome =
  | { readonly kind: 'completed' }
  /** By itself, or because it could not be launched: then with neither code nor signal. */
  | { readonly kind: 'failed'; readonly exitCode: number | null; readonly signal: number | null }
  | { readonly kind: 'canceled' }
  | { readonly kind: 'timed-out' }
  | { readonly kind: 'out-of-memory' }
  | { readonly kind: 'node-failed' }
  | { readonly kind: 'preempted' }
  /** It is over, and nobody can say how. */
  | { readonly kind: 'unknown'; readonly message: string };

/** From best to worst: an array has ended as its worst task has. */
const SEVERITY: readonly RemoteOutcome['kind'][] = [
  'completed',
  'canceled',
  'preempted',
  'node-failed',
  'unknown',
  'failed',
  'timed-out',
  'out-of-memory',
];

/** The job of which these are tasks: it runs while any does, and has ended when all have. */
export function jobOfTasks(id: string, tag: string, tasks: readonly RemoteTask[]): RemoteJob {
  const sorted = [...tasks].sort((left, right) => left.index - right.index);
  const state = stateOfTasks(sorted);
  const expected = state === 'pending' ? sorted.flatMap(({ expectedAt }) => expectedAt ?? []) : [];
  const worst = sorted.reduce<RemoteTask | undefined>(
    (found, task) => (isWorse(task, found) ? task : found),
    undefined,
  );
  return {
    id,
    tag,
    state,
    reason: sorted.find((task) => task.state === state && task.reason !== '')?.reason ?? '',
    nodes: [...new Set(sorted.flatMap(({ nodes }) => (nodes === '' ? [] : [nodes])))].join(','),
    requeueCount: Math.max(0, ...sorted.map(({ requeueCount }) => requeueCount)),
    ...(expected.length === 0 ? {} : { expectedAt: Math.min(...expected) }),
    outcome: state === 'ended' ? (worst?.outcome ?? null) : null,
    tasks: sorted,
  };
}

function stateOfTasks(tasks: readonly RemoteTask[]): RemoteState {
  if (tasks.every(({ state }) => state === 'ended')) return 'ended';
  if (tasks.some(({ state }) => state === 'running')) return 'running';
  // Some have ended and others have not begun: the job is under way.
  const hasBegun = tasks.some(({ state }) => state === 'ended' || state === 'completing');
  if (tasks.some(({ state }) => state === 'pending')) return hasBegun ? 'running' : 'pending';
  return 'completing';
}

function isWorse(task: RemoteTask, other: RemoteTask | undefined): boolean {
  if (!task.outcome) return false;
  if (!other?.outcome) return true;
  const [left, right] = [SEVERITY.indexOf(task.outcome.kind), SEVERITY.indexOf(other.outcome.kind)];
  return left > right || (left === right && codeOf(task.outcome) > codeOf(other.outcome));
}

function codeOf(outcome: RemoteOutcome): number {
  return outcome.kind === 'failed' ? (outcome.exitCode ?? 0) : 0;
}

/** What follows from an exit status as shells have it, where 128 + n is signal n. */
export function outcomeOfExitCode(exitCode: number): RemoteOutcome {
  return exitCode === 0 ? { kind: 'completed' } : { kind: 'failed', exitCode, signal: null };
}

/** What is wrong with an answer or a way to the remote side, and so what can be done about it. */
export type HpcErrorKind =
  /** Not let in: expired, revoked, unknown. Whoever can must renew it; until then asking again only makes noise. */
  | 'credentials'
  /** No connection, a time limit, a controller that is down or busy: the same request may succeed later. */
  | 'unavailable'
  /** Understood and not granted: the partition, account or size. The same request never succeeds. */
  | 'refused'
  /** The system does not know the id. */
  | 'unknown-job'
  /** What was set up is wrong: no such program, another host key, an answer nobody understands. */
  | 'configuration';

/** A system answers in no useful time, or too much of it. */
export const HPC_LIMITS = {
  /** Of one call to the remote side. */
  callMs: 60_000,
  /** Of what one remote command may print. */
  maxAnswerBytes: 64 * 1024 * 1024,
  /** Of one piece of a file that is read or written at once. */
  maxPieceBytes: 1024 * 1024,
  /** Slurm's own limit of a batch script. */
  maxScriptBytes: 4 * 1024 * 1024,
  /** Files that are looked at in one folder. */
  maxFiles: 100_000,
} as const;
