import type { EpochMs } from '../../shared/clock.js';
import type { NodeId } from '../../shared/ids.js';
import { fits, subtractResources } from '../../shared/resources.js';
import type { ClusterView } from '../model/state.js';
import { type Claim, type Start, Timeline } from './timeline.js';

/**
 * EASY backfill: the first task in order that cannot start gets a reservation, and later ones may start now if they do
 * not delay it. Source: Lifka 1995, "The ANL/IBM SP scheduling system".
 */
export interface Reservation extends Start {
  readonly claim: Claim;
}

/**
 * When and where the head task of the queue could start if nothing more were started.
 *
 * @returns undefined when it cannot, before something without a time limit ends
 * Cost: O(nodes + allocations log allocations). Pure.
 */
export function reserve(view: ClusterView, claim: Claim, now: EpochMs): Reservation | undefined {
  const start = new Timeline(view, now).start(claim);
  return start && { ...start, claim };
}

/** A task that would start on a node now. */
export interface Candidate {
  readonly claim: Claim;
  readonly nodeId: NodeId;
}

/**
 * Would the reservation stand if this task started now? On another node; or gone by then; or beside it.
 *
 * A device that both could use counts against the reservation, since any of them may be chosen.
 * Cost: O(1). Pure.
 */
export function mayBackfill(reservation: Reservation, candidate: Candidate, now: EpochMs): boolean {
  if (isOutOfTheWay(reservation, candidate, now)) return true;
  const { demand } = candidate.claim;
  return fits(demand.resources, reservation.spare) && contested(reservation, candidate) <= reservation.spareGpuCount;
}

/** The reservation after a task that `mayBackfill` has started: with less room beside it. */
export function afterBackfill(reservation: Reservation, candidate: Candidate, now: EpochMs): Reservation {
  if (isOutOfTheWay(reservation, candidate, now)) return reservation;
  return {
    ...reservation,
    spare: subtractResources(reservation.spare, candidate.claim.demand.resources),
    spareGpuCount: reservation.spareGpuCount - contested(reservation, candidate),
  };
}

function isOutOfTheWay({ nodeId, startAt }: Reservation, candidate: Candidate, now: EpochMs): boolean {
  return candidate.nodeId !== nodeId || now + candidate.claim.holdMs <= startAt;
}

function contested({ claim }: Reservation, candidate: Candidate): number {
  return claim.demand.gpus === null ? 0 : (candidate.claim.demand.gpus?.count ?? 0);
}
