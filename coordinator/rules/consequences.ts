import { present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import { type JobId, taskIdOf } from '../../shared/ids.js';
import type { AllocationEnd, JobOutcome, TaskOutcome } from '../../shared/outcome.js';
import type { BerthEvent, EventOf } from '../model/events.js';
import { type Job, jobCounts, type Step, unfinishedCount } from '../model/job.js';
import type { ClusterView } from '../model/state.js';
import { afterAttempt } from './after-attempt.js';

/**
 * What follows by itself from an event that has just been applied. The engine applies the answer and asks again,
 * until nothing follows: an attempt ends, so its task ends, so its step is complete, so the next is released.
 *
 * The chain is finite: each link moves a task, a step or a job strictly forward.
 */
export function consequences(view: ClusterView, event: BerthEvent, now: EpochMs): BerthEvent[] {
  switch (event.type) {
    case 'allocation.ended':
      return [...attemptEnded(view, event, now), ...nodeEmptied(view, event)];
    case 'task.finished':
      return stepMoved(view, event, event.outcome);
    case 'step.swept':
      return stepMoved(view, event, event.outcome);
    default:
      return [];
  }
}

function attemptEnded(
  view: ClusterView,
  { allocationId, end }: EventOf<'allocation.ended'>,
  now: EpochMs,
): BerthEvent[] {
  const { ref } = present(view.allocations.get(allocationId), 'ended allocation');
  const { job, step } = find(view, ref);
  return [afterAttempt({ job, step, ref, end }, now)];
}

function nodeEmptied(view: ClusterView, { allocationId }: EventOf<'allocation.ended'>): BerthEvent[] {
  const { nodeId } = present(view.allocations.get(allocationId), 'ended allocation');
  const isDraining = view.nodes.get(nodeId)?.intake.kind === 'draining';
  return isDraining && view.index.usage(nodeId).live.size === 0 ? [{ type: 'node.drained', nodeId }] : [];
}

function stepMoved(
  view: ClusterView,
  place: { readonly jobId: JobId; readonly step: string; readonly index?: number },
  outcome: TaskOutcome,
): BerthEvent[] {
  const { job, step } = find(view, place);
  if (unfinishedCount(jobCounts(job)) === 0) return job.phase.kind === 'finished' ? [] : [jobFinished(job)];
  if (job.phase.kind === 'canceling') return [];
  if (outcome.kind !== 'succeeded') return dropDependants(job, step, whyDropped(place, step, outcome));
  return step.counts.succeeded === step.count ? releaseDependants(job, step) : [];
}

/** Steps that need only what has now succeeded. */
function releaseDependants(job: Job, done: Step): BerthEvent[] {
  const events: BerthEvent[] = [];
  for (const step of job.steps.values()) {
    if (step.isReleased || step.swept || !step.spec.needs.includes(done.name)) continue;
    const isReady = step.spec.needs.every((name) => hasSucceeded(job.steps.get(name)));
    if (isReady) events.push({ type: 'step.released', jobId: job.id, step: step.name });
  }
  return events;
}

function hasSucceeded(step: Step | undefined): boolean {
  return step !== undefined && step.counts.succeeded === step.count;
}

/** They can never run: dropped at the first final failure, not when the last task is done. */
function dropDependants(job: Job, lost: Step, reason: string): BerthEvent[] {
  const events: BerthEvent[] = [];
  for (const step of job.steps.values()) {
    if (step.isReleased || step.swept || !step.spec.needs.includes(lost.name)) continue;
    events.push({ type: 'step.swept', jobId: job.id, step: step.name, outcome: { kind: 'dropped', reason } });
  }
  return events;
}

function whyDropped(
  place: { readonly jobId: JobId; readonly index?: number },
  step: Step,
  outcome: TaskOutcome,
): string {
  if (place.index === undefined || outcome.kind !== 'failed') return `step "${step.name}" was ${outcome.kind}`;
  const task = taskIdOf({ jobId: place.jobId, step: step.name, index: place.index });
  return `step "${step.name}" failed: ${task} ${describeEnd(outcome.end)}`;
}

function describeEnd(end: AllocationEnd): string {
  switch (end.kind) {
    case 'exited':
      return `exited with ${end.exitCode}`;
    case 'signaled':
      return `died of ${end.signal}`;
    case 'stopped':
      return `was stopped (${end.reason})`;
    case 'start-failed':
    case 'rejected':
    case 'lost':
      return `${end.kind}: ${end.message}`;
  }
}

function jobFinished(job: Job): BerthEvent {
  const counts = jobCounts(job);
  const outcome: JobOutcome =
    counts.canceled > 0 ? 'canceled' : counts.failed + counts.dropped > 0 ? 'failed' : 'succeeded';
  const reason = job.phase.kind === 'canceling' && outcome === 'canceled' ? { reason: job.phase.reason } : {};
  return { type: 'job.finished', jobId: job.id, outcome, ...reason };
}

function find(view: ClusterView, place: { readonly jobId: JobId; readonly step: string }): { job: Job; step: Step } {
  const job = present(view.jobs.get(place.jobId), `job ${place.jobId}`);
  return { job, step: present(job.steps.get(place.step), `step ${place.step} of ${place.jobId}`) };
}
