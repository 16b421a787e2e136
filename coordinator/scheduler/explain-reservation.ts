import type { EpochMs } from '../../shared/clock.js';
import type { Limits } from '../../shared/limits.js';
import type { DemandClass } from '../model/demand.js';
import type { Job, Step } from '../model/job.js';
import type { ReadyStep } from '../model/lanes.js';
import { type ClusterView, stepOf } from '../model/state.js';
import { mayBackfill, type Reservation, reserve } from './backfill.js';
import { orderQueue } from './order.js';
import { type Claim, holdMsOf, nodesWithRoom } from './timeline.js';
import type { WaitReason } from './wait-reason.js';

interface Held extends Reservation {
  readonly entry: ReadyStep;
}

/**
 * The reservation that keeps a task waiting although it would fit; undefined when none does.
 *
 * Cost: O(nodes) for each demand class that is served before the step, and that of a reservation. Pure.
 */
export function explainReservation(
  view: ClusterView,
  { job, step }: { readonly job: Job; readonly step: Step },
  policy: { readonly limits: Limits; readonly now: EpochMs },
): WaitReason | undefined {
  const { now } = policy;
  const claim: Claim = { demand: step.demand, holdMs: holdMsOf(step.spec) };
  const open = nodesWithRoom(view, step.demand);
  if (open.length !== 1) return undefined;
  const held = reservationBefore(view, { jobId: job.id, step: step.name }, policy);
  if (!held || open.some(({ id }) => mayBackfill(held, { claim, nodeId: id }, now))) return undefined;
  const startAt = new Date(held.startAt).toISOString();
  const { jobId } = held.entry;
  return {
    code: 'reservation',
    message: `would delay ${jobId}, which starts on ${held.nodeId} at ${startAt} at the latest; with a time limit that ends before, it could go now`,
    details: { jobId, step: held.entry.step, node: held.nodeId, startAt },
  };
}

/** That of the first task without room, among those served before the step. */
function reservationBefore(
  view: ClusterView,
  place: Pick<ReadyStep, 'jobId' | 'step'>,
  policy: { readonly limits: Limits; readonly now: EpochMs },
): Held | undefined {
  const seen = new Set<DemandClass>();
  for (const entry of orderQueue(view, policy, policy.now)) {
    if (entry.jobId === place.jobId && entry.step === place.step) return undefined;
    const step = stepOf(view, entry);
    if (!step || seen.has(entry.demand)) continue;
    seen.add(entry.demand);
    if (nodesWithRoom(view, entry.demand).length > 0) continue;
    const made = reserve(view, { demand: entry.demand, holdMs: holdMsOf(step.spec) }, { now: policy.now });
    if (made) return { ...made, entry };
  }
  return undefined;
}
