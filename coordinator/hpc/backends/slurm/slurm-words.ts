import type { RemoteOutcome, RemoteState } from '../../remote-job.js';

/** A job's state in Slurm's words, and what they mean. Source: squeue(1), sacct(1), JOB STATE CODES. */
const STATES: Readonly<Record<string, RemoteState | 'failed' | RemoteOutcome['kind']>> = {
  PENDING: 'pending',
  CONFIGURING: 'pending',
  REQUEUED: 'pending',
  REQUEUE_FED: 'pending',
  REQUEUE_HOLD: 'pending',
  RESV_DEL_HOLD: 'pending',
  SPECIAL_EXIT: 'pending',
  RUNNING: 'running',
  RESIZING: 'running',
  SIGNALING: 'running',
  SUSPENDED: 'running',
  STOPPED: 'running',
  COMPLETING: 'completing',
  STAGE_OUT: 'completing',
  COMPLETED: 'completed',
  FAILED: 'failed',
  BOOT_FAIL: 'node-failed',
  CANCELLED: 'canceled',
  REVOKED: 'canceled',
  DEADLINE: 'timed-out',
  TIMEOUT: 'timed-out',
  NODE_FAIL: 'node-failed',
  OUT_OF_MEMORY: 'out-of-memory',
  PREEMPTED: 'preempted',
};

export interface SlurmState {
  readonly state: RemoteState;
  readonly outcome: RemoteOutcome | null;
}

export interface ExitStatus {
  readonly exitCode: number;
  readonly signal: number;
}

/**
 * What a state word means. Words after the first say by whom (`CANCELLED by 1000`) or add a flag.
 *
 * A word that is not known is taken for a job that goes on, since that is the harmless mistake.
 */
export function readState(words: string, status: ExitStatus): SlurmState {
  const word = /^[A-Z_]+/.exec(words)?.[0] ?? '';
  const meaning = Object.hasOwn(STATES, word) ? STATES[word] : undefined;
  switch (meaning) {
    case undefined:
      return { state: 'running', outcome: null };
    case 'pending':
    case 'running':
    case 'completing':
    case 'ended':
      return { state: meaning, outcome: null };
    case 'failed':
      return { state: 'ended', outcome: failed(status) };
    case 'unknown':
      return { state: 'ended', outcome: { kind: 'unknown', message: words } };
    default:
      return { state: 'ended', outcome: { kind: meaning } };
  }
}

/** A job that never ran has a status that means nothing: zero, or what the controller put there. */
function failed({ exitCode, signal }: ExitStatus): RemoteOutcome {
  return { kind: 'failed', exitCode: exitCode > 0 ? exitCode : null, signal: signal > 0 ? signal : null };
}

/** A wait status, as squeue and slurmrestd print it: 768 is exit status 3, 9 is signal 9. */
export function readWaitStatus(raw: number): ExitStatus {
  return { exitCode: (raw >> 8) & 0xff, signal: raw & 0x7f };
}

/** `3:0` and `0:9`, as sacct prints them. */
export function readExitPair(text: string): ExitStatus {
  const [exitCode = 0, signal = 0] = text.split(':').map(Number);
  return { exitCode: exitCode || 0, signal: signal || 0 };
}

/** Reasons that say nothing. */
export function readReason(reason: string): string {
  return reason === 'None' || reason === '(null)' ? '' : reason;
}

/** Of a job that has, or had, none. */
export function readNodes(nodes: string): string {
  return nodes === '(null)' || nodes === 'None assigned' ? '' : nodes;
}

/** Days-hours:minutes:seconds; Slurm counts in minutes and rounds up by itself. */
export function formatTimeLimit(timeLimitMs: number): string {
  const seconds = Math.ceil(timeLimitMs / 1_000);
  const pad = (value: number): string => String(Math.floor(value)).padStart(2, '0');
  return `${Math.floor(seconds / 86_400)}-${pad((seconds % 86_400) / 3_600)}:${pad((seconds % 3_600) / 60)}:${pad(seconds % 60)}`;
}

/** What Slurm has as the start of a job that waits is its scheduler's estimate. */
export function expectedStart(state: RemoteState, startSeconds: number): { readonly expectedAt?: number } {
  return state === 'pending' && startSeconds > 0 ? { expectedAt: startSeconds * 1_000 } : {};
}
