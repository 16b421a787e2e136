import { assertNever } from '../../../shared/assert.js';
import { type AllocationEnd, type StopReason, signalName } from '../../../shared/outcome.js';
import type { MirrorOutcome } from '../mirror.js';
import type { RemoteJob, RemoteTask } from '../remote-job.js';
import { isArray, type Member, type RemoteWork } from './remote-work.js';

/** What is known of the attempt whose remote task has ended. */
export interface Attempt {
  /** Why it was asked to stop; null when it was not. */
  readonly stopReason: StopReason | null;
  readonly ranMs: number;
}

/** The end of an attempt, as for one that ran on a node: each remote outcome stays distinct from every other. */
export function endOf(outcome: MirrorOutcome, { stopReason, ranMs }: Attempt): AllocationEnd {
  switch (outcome.kind) {
    case 'completed':
      return { kind: 'exited', exitCode: 0, ranMs };
    case 'failed':
      return stopReason ? { kind: 'stopped', reason: stopReason, ranMs } : failed(outcome, ranMs);
    case 'canceled':
      return { kind: 'stopped', reason: stopReason ?? 'remote', ranMs };
    case 'preempted':
      return { kind: 'stopped', reason: stopReason ?? 'preempted', ranMs };
    case 'timed-out':
      return { kind: 'stopped', reason: 'time-limit', ranMs };
    case 'out-of-memory':
      return { kind: 'signaled', signal: 'SIGKILL', ranMs, oom: true };
    case 'node-failed':
      return { kind: 'lost', message: 'a node of the site failed' };
    case 'refused':
      return { kind: 'rejected', message: outcome.message };
    case 'unknown':
    case 'lost':
      return { kind: 'lost', message: outcome.message };
    default:
      return assertNever(outcome, 'outcome of a mirror');
  }
}

function failed({ exitCode, signal }: MirrorOutcome & { readonly kind: 'failed' }, ranMs: number): AllocationEnd {
  if (exitCode !== null) return { kind: 'exited', exitCode, ranMs };
  if (signal !== null) return { kind: 'signaled', signal: signalName(signal), ranMs };
  return { kind: 'start-failed', message: 'it could not be launched, or the site does not say its exit code' };
}

/** Of an array the task, else the job itself; undefined while nothing is known of it. */
export function taskOf(job: RemoteJob, index: number, isArray: boolean): Omit<RemoteTask, 'index'> | undefined {
  return isArray ? job.tasks.find((task) => task.index === index) : job;
}

/** How a task has ended; undefined while it has not. */
export function outcomeOf(work: RemoteWork, { index }: Member): MirrorOutcome | undefined {
  const { phase, job } = work.mirror;
  const task = job ? taskOf(job, index, isArray(work)) : undefined;
  if (task?.state === 'ended' && task.outcome) return task.outcome;
  return phase.kind === 'ended' ? phase.outcome : undefined;
}
