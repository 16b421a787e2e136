import type { EpochMs } from '../../shared/clock.js';
import type { Job, Step } from '../model/job.js';
import { MAX_REJECTIONS, rejectionBefore } from '../model/rejection.js';
import type { ClusterView } from '../model/state.js';
import type { Task } from '../model/task.js';
import type { WaitReason } from './wait-reason.js';

interface StepOfJob {
  readonly job: Job;
  readonly step: Step;
}

/** Only when every queued task is backing off; else the others' reason is the one that matters. Cost: O(retries). */
export function explainBackoff(
  view: Pick<ClusterView, 'allocations'>,
  place: StepOfJob,
  now: EpochMs,
): WaitReason | undefined {
  const { step } = place;
  let first: { readonly task: Task; readonly notBefore: EpochMs } | undefined;
  let backingOff = 0;
  for (const task of step.tasks.values()) {
    const { phase } = task;
    if (phase.kind !== 'queued' || phase.notBefore <= now) continue;
    backingOff += 1;
    if (!first || phase.notBefore < first.notBefore) first = { task, notBefore: phase.notBefore };
  }
  if (!first || backingOff < step.counts.queued) return undefined;
  const rejection = describeRejection(view, place, first.task);
  const seconds = Math.ceil((first.notBefore - now) / 1000);
  return {
    code: 'backoff',
    message: `retries in ${seconds} s${rejection === undefined ? '' : `, after ${rejection}`}`,
    details: { notBefore: new Date(first.notBefore).toISOString() },
  };
}

/** By whom and why a waiting task was rejected last; undefined when its last attempt ended otherwise. */
export function describeRejection(
  view: Pick<ClusterView, 'allocations'>,
  { job, step }: StepOfJob,
  { index, phase, rejectedAttempts }: Task,
): string | undefined {
  if (phase.kind !== 'queued') return undefined;
  const last = rejectionBefore(view, { jobId: job.id, step: step.name, index, attempt: phase.attempt });
  if (last === undefined) return undefined;
  const count = rejectedAttempts === undefined ? '' : ` ${rejectedAttempts} of at most ${MAX_REJECTIONS}`;
  return `rejection${count}, by ${last.nodeId} (${last.message})`;
}
