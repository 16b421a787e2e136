import { assertNever } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import type { AllocationRef } from '../../shared/ids.js';
import { MAX_BACKOFF_MS, type RetrySpec } from '../../shared/job-spec/spec.js';
import type { AllocationEnd, RetryableEnd, TaskOutcome } from '../../shared/outcome.js';
import type { BerthEvent } from '../model/events.js';
import type { Job, Step } from '../model/job.js';
import { isNodesRejection, MAX_REJECTIONS, rejectionPauseMs } from '../model/rejection.js';
import type { Task } from '../model/task.js';

interface EndedAttempt {
  readonly job: Job;
  readonly step: Step;
  readonly ref: AllocationRef;
  readonly end: AllocationEnd;
}

/** What becomes of a task whose attempt has ended: done, or queued for another attempt. */
export function afterAttempt({ job, step, ref, end }: EndedAttempt, now: EpochMs): BerthEvent {
  const { jobId, index, attempt } = ref;
  const place = { jobId, step: step.name, index };
  if (isSuccess(end)) return { type: 'task.finished', ...place, outcome: { kind: 'succeeded' } };
  if (job.phase.kind === 'canceling') {
    return { type: 'task.finished', ...place, outcome: { kind: 'canceled', reason: job.phase.reason } };
  }
  const before = step.tasks.get(index);
  const isRejection = isNodesRejection(step, end);
  const count = {
    spentAttempts: (before?.spentAttempts ?? 0) + (isFree(end) || isRejection ? 0 : 1),
    rejectedAttempts: (before?.rejectedAttempts ?? 0) + (isRejection ? 1 : 0),
  };
  const { retry } = step.spec;
  if (!mayRetry(retry, end, count)) return { type: 'task.finished', ...place, outcome: failed(end) };
  const pauseMs = isRejection ? rejectionPauseMs(count.rejectedAttempts) : backoff(retry, count.spentAttempts);
  const notBefore = isFree(end) ? now : now + pauseMs;
  const { rejectedAttempts, spentAttempts } = count;
  const rejections = rejectedAttempts > 0 ? { rejectedAttempts } : {};
  return { type: 'task.requeued', ...place, attempt: attempt + 1, notBefore, spentAttempts, ...rejections };
}

export function isSuccess(end: AllocationEnd): boolean {
  return end.kind === 'exited' && end.exitCode === 0;
}

function failed(end: AllocationEnd): TaskOutcome {
  return { kind: 'failed', end };
}

/** Stopped for our own convenience: the task is not to blame, and its retry is not spent. */
function isFree(end: AllocationEnd): boolean {
  return end.kind === 'stopped' && (end.reason === 'drained' || end.reason === 'preempted');
}

/** `maxAttempts: 1` means that the command is never started twice, whoever is to blame (P4). */
function mayRetry(
  retry: RetrySpec,
  end: AllocationEnd,
  { spentAttempts, rejectedAttempts }: Required<Pick<Task, 'spentAttempts' | 'rejectedAttempts'>>,
): boolean {
  if (retry.maxAttempts === 1) return false;
  if (isFree(end)) return true;
  const cause = retryCause(end);
  if (cause === undefined || !retry.on.includes(cause)) return false;
  return spentAttempts < retry.maxAttempts && rejectedAttempts < MAX_REJECTIONS;
}

function retryCause(end: AllocationEnd): RetryableEnd | undefined {
  switch (end.kind) {
    case 'exited':
    case 'signaled':
    case 'start-failed':
    case 'rejected':
    case 'outputs-failed':
    case 'lost':
      return end.kind;
    case 'stopped':
      return end.reason === 'time-limit' ? 'time-limit' : undefined;
    default:
      return assertNever(end, 'allocation end');
  }
}

/** Doubles with each spent attempt. No jitter: one task's retries cannot form a herd. */
function backoff(retry: RetrySpec, spentAttempts: number): number {
  return Math.min(MAX_BACKOFF_MS, retry.backoffMs * 2 ** (spentAttempts - 1));
}
