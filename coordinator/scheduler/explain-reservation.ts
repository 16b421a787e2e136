import type { EpochMs } from '../../shared/clock.js';
import type { Limits } from '../../shared/limits.js';
import type { DemandClass } from '../model/demand.js';
import type { Job, Step } from '../model/job.js';
import type { ReadyStep } from '../model/lanes.js';
import { type ClusterView, stepOf } from '../model/state.js';
import { mayBackfill, reserve } from './backfill.js';
import { orderQueue } from './order.js';
import { type Claim, holdMsOf } from './outlook.js';
import type { Reservation } from './reservation.js';
import { nodesWithRoom } from './timeline.js';
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
  const held = reservationBefore(view, { jobId: job.id, step: step.name }, policy);
  if (!held || open.some(({ id }) => mayBackfill(held, { claim, nodeId: id }, now))) return undefined;
  const { jobId, step: other } = held.entry;
  const nodes = [...held.places.keys()];
  const startAt = held.startAt === null ? null : new Date(held.startAt).toISOString();
  const where = nodes.length === 1 ? nodes[0] : `${nodes.length} nodes`;
  const message =
    startAt === null
      ? `would delay ${jobId}, which starts on ${where} when enough of what runs there has ended`
      : `would delay ${jobId}, which starts on ${where} at ${startAt} at the latest; with a time limit that ends before, it could go now`;
  return { code: 'reservation', message, details: { jobId, step: other, node: nodes[0], nodes, startAt } };
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
