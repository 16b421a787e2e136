import { present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import { type JobId, taskIdOf } from '../../shared/ids.js';
import type { AllocationEnd, JobOutcome, TaskOutcome } from '../../shared/outcome.js';
import type { BerthEvent, EventOf } from '../model/events.js';
import { type Job, jobCounts, type Step, unfinishedCount } from '../model/job.js';
import type { ClusterView } from '../model/state.js';
import { afterAttempt } from './after-attempt.js';
import { machineJoined, machineNamed } from './agent-closed.js';
import { gangRankEnded } from './gang.js';
import { retiringPool } from './pool-control.js';

/**
 * What next follows by itself from an event that was applied, mostly one event; empty when everything already has.
 *
 * The engine applies the answer, with all that follows from it, and asks again: an attempt ends, so its task ends, so
 * its step is complete, so the next is released. Each answer is what the state still lacks, so nothing follows twice;
 * each moves a task, a step, a job or a node strictly forward, so the asking ends.
 */
export function consequence(view: ClusterView, event: BerthEvent, now: EpochMs): readonly BerthEvent[] {
  switch (event.type) {
    case 'allocation.ended': {
      const ended = attemptEnded(view, event, now);
      return ended.length > 0 ? ended : listed(nodeEmptied(view, event));
    }
    case 'node.connected':
      return machineJoined(view, event);
    case 'instance.booting':
      return machineNamed(view, event);
    case 'instance.suspended':
    case 'instance.terminated':
    case 'instance.orderFailed':
      return retiringPool(view, event);
    case 'task.finished':
    case 'step.swept':
      return listed(stepMoved(view, event, event.outcome));
    default:
      return [];
  }
}

function listed(event: BerthEvent | undefined): readonly BerthEvent[] {
  return event ? [event] : [];
}

function attemptEnded(
  view: ClusterView,
  { allocationId, end }: EventOf<'allocation.ended'>,
  now: EpochMs,
): readonly BerthEvent[] {
  const { ref } = present(view.allocations.get(allocationId), 'ended allocation');
  const { job, step } = find(view, ref);
  if (step.spec.gang) return gangRankEnded(view, { job, step }, now);
  const phase = step.tasks.get(ref.index)?.phase;
  const isNewest = phase?.kind === 'placed' && phase.allocationId === allocationId;
  return isNewest ? [afterAttempt({ job, step, ref, end }, now)] : [];
}

function nodeEmptied(view: ClusterView, { allocationId }: EventOf<'allocation.ended'>): BerthEvent | undefined {
  const { nodeId } = present(view.allocations.get(allocationId), 'ended allocation');
  const isDraining = view.nodes.get(nodeId)?.intake.kind === 'draining';
  return isDraining && view.index.usage(nodeId).live.size === 0 ? { type: 'node.drained', nodeId } : undefined;
}

function stepMoved(
  view: ClusterView,
  place: { readonly jobId: JobId; readonly step: string; readonly index?: number },
  outcome: TaskOutcome,
): BerthEvent | undefined {
  const { job, step } = find(view, place);
  if (job.phase.kind === 'finished') return undefined;
  if (unfinishedCount(jobCounts(job)) === 0) return jobFinished(job);
  if (job.phase.kind === 'canceling') return undefined;
  if (outcome.kind !== 'succeeded') return dropDependant(job, step, whyDropped(place, step, outcome));
  return hasSucceeded(step) ? releaseDependant(job, step) : undefined;
}

/** A step that needs only what has now succeeded. */
function releaseDependant(job: Job, done: Step): BerthEvent | undefined {
  for (const step of dependants(job, done)) {
    const isReady = step.spec.needs.every((name) => hasSucceeded(job.steps.get(name)));
    if (isReady) return { type: 'step.released', jobId: job.id, step: step.name };
  }
  return undefined;
}

/** A step that can never run now: dropped at the first final failure, not when the last task is done. */
function dropDependant(job: Job, lost: Step, reason: string): BerthEvent | undefined {
  for (const step of dependants(job, lost)) {
    return { type: 'step.swept', jobId: job.id, step: step.name, outcome: { kind: 'dropped', reason } };
  }
  return undefined;
}

/** Steps that need this one and have been neither released nor swept. */
function* dependants(job: Job, needed: Step): Generator<Step> {
  for (const step of job.steps.values()) {
    if (!step.isReleased && !step.swept && step.spec.needs.includes(needed.name)) yield step;
  }
}

function hasSucceeded(step: Step | undefined): boolean {
  return step !== undefined && step.counts.succeeded === step.count;
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
    case 'outputs-failed':
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
