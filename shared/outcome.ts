import { assertNever } from './assert.js';

/**
 * Why somebody asked an allocation to stop; `remote`: somebody did so at the remote batch system; `gang`: another rank of its gang has failed or is being stopped; `disk`:
 * it has more on disk than it asked for.
 */
export type StopReason = 'canceled' | 'time-limit' | 'disk' | 'drained' | 'preempted' | 'gang' | 'stale' | 'remote';

/** How an attempt ended. `ranMs` counts from the start of the command, by the agent's monotonic clock. */
export type AllocationEnd =
  | { readonly kind: 'exited'; readonly exitCode: number; readonly ranMs: number }
  /** `oom`: the kernel killed it because it reached its memory limit. */
  | { readonly kind: 'signaled'; readonly signal: string; readonly ranMs: number; readonly oom?: true }
  /** The command never ran: no such program, no such directory. */
  | { readonly kind: 'start-failed'; readonly message: string }
  /** The agent refused before anything was started. */
  | { readonly kind: 'rejected'; readonly message: string }
  /** It ended because it was asked to; `exitCode` is what the command returned, if it did. */
  | { readonly kind: 'stopped'; readonly reason: StopReason; readonly exitCode?: number; readonly ranMs: number }
  /** The command succeeded and did not leave what it must, or that could not be kept. */
  | { readonly kind: 'outputs-failed'; readonly message: string; readonly ranMs: number }
  /** Nobody knows: the node is gone, rebooted, or forgot it. */
  | { readonly kind: 'lost'; readonly message: string };

export type EndKind = AllocationEnd['kind'];

/** Ends after which `retry.on` may ask for another attempt. */
export const RETRYABLE_ENDS = [
  'exited',
  'signaled',
  'start-failed',
  'rejected',
  'outputs-failed',
  'time-limit',
  'lost',
] as const;
export type RetryableEnd = (typeof RETRYABLE_ENDS)[number];

export type TaskOutcome =
  | { readonly kind: 'succeeded' }
  | { readonly kind: 'failed'; readonly end: AllocationEnd }
  | { readonly kind: 'canceled'; readonly reason: string }
  /** It never ran, for a stated reason: a step that it needed failed. */
  | { readonly kind: 'dropped'; readonly reason: string };

export type JobOutcome = 'succeeded' | 'failed' | 'canceled';

/** 128 + n for signal n, as shells have it. */
export const SIGNAL_EXIT_BASE = 128;
/** Berth itself failed: the node was lost, the task could not be started. */
export const SYSTEM_FAILURE_EXIT = 125;
export const CANCELED_EXIT = 130;

const SIGNAL_NUMBERS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGSEGV: 11,
  SIGUSR2: 12,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
  SIGXCPU: 24,
  SIGXFSZ: 25,
  SIGSYS: 31,
};

export const SIGNAL_NAMES: readonly string[] = Object.keys(SIGNAL_NUMBERS);

export function isSignalName(name: string): boolean {
  return name in SIGNAL_NUMBERS;
}

export function signalNumber(name: string): number {
  return SIGNAL_NUMBERS[name] ?? 0;
}

export function signalName(number: number): string {
  for (const [name, value] of Object.entries(SIGNAL_NUMBERS)) if (value === number) return name;
  return `SIG${number}`;
}

/** The exit code with which a waiting client speaks for this task. */
export function exitCodeOf(outcome: TaskOutcome): number {
  switch (outcome.kind) {
    case 'succeeded':
      return 0;
    case 'canceled':
      return CANCELED_EXIT;
    case 'dropped':
      return SYSTEM_FAILURE_EXIT;
    case 'failed':
      return exitCodeOfEnd(outcome.end);
    default:
      return assertNever(outcome, 'task outcome');
  }
}

function isOwnFault(reason: StopReason): boolean {
  return reason === 'time-limit' || reason === 'disk';
}

function exitCodeOfEnd(end: AllocationEnd): number {
  switch (end.kind) {
    case 'exited':
      return end.exitCode;
    case 'signaled':
      return SIGNAL_EXIT_BASE + signalNumber(end.signal);
    case 'stopped':
      return isOwnFault(end.reason) ? SIGNAL_EXIT_BASE + signalNumber('SIGTERM') : CANCELED_EXIT;
    case 'start-failed':
    case 'rejected':
    case 'outputs-failed':
    case 'lost':
      return SYSTEM_FAILURE_EXIT;
    default:
      return assertNever(end, 'allocation end');
  }
}
