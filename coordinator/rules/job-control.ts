import { refuse } from '../../shared/errors.js';
import type { BerthEvent } from '../model/events.js';
import type { Job } from '../model/job.js';
import { refuseCancel, refuseHold, refuseRelease } from '../model/refuse-control.js';
import type { ClusterView } from '../model/state.js';
import { DONE, done, type Rule } from './rule.js';

export const holdJob: Rule<'holdJob'> = (view, { jobId }) => {
  const job = view.jobs.get(jobId);
  if (!job) return unknownJob(jobId);
  if (job.phase.kind === 'held') return { events: [], reply: DONE };
  return refuseHold(job) ?? done({ type: 'job.held', jobId });
};

export const releaseJob: Rule<'releaseJob'> = (view, { jobId }) => {
  const job = view.jobs.get(jobId);
  if (!job) return unknownJob(jobId);
  if (job.phase.kind === 'active') return { events: [], reply: DONE };
  return refuseRelease(job) ?? done({ type: 'job.released', jobId });
};

/** From here nothing of the job starts anew (P8): what waits is swept, what runs is asked to stop. */
export const cancelJob: Rule<'cancelJob'> = (view, { jobId, reason, by }) => {
  const job = view.jobs.get(jobId);
  if (!job) return unknownJob(jobId);
  if (job.phase.kind === 'canceling') return { events: [], reply: DONE };
  const refusal = refuseCancel(job);
  if (refusal) return refusal;
  return done({ type: 'job.cancelRequested', jobId, reason, by }, ...sweepWaiting(job, reason), ...stopLive(view, job));
};

function sweepWaiting(job: Job, reason: string): BerthEvent[] {
  const events: BerthEvent[] = [];
  for (const step of job.steps.values()) {
    if (step.counts.blocked + step.counts.queued === 0) continue;
    events.push({ type: 'step.swept', jobId: job.id, step: step.name, outcome: { kind: 'canceled', reason } });
  }
  return events;
}

function stopLive(view: ClusterView, job: Job): BerthEvent[] {
  const events: BerthEvent[] = [];
  for (const allocationId of view.index.liveOfJob(job.id)) {
    if (view.allocations.get(allocationId)?.phase.kind === 'stopping') continue;
    events.push({ type: 'allocation.stopRequested', allocationId, reason: 'canceled' });
  }
  return events;
}

function unknownJob(jobId: string) {
  return refuse('not-found', `there is no job ${jobId}`);
}
