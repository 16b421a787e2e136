import type { EpochMs } from '../../shared/clock.js';
import type { NodeId } from '../../shared/ids.js';
import type { Beside, Claim } from './outlook.js';

/**
 * EASY backfill: the first task in order that cannot start gets a reservation, and later ones may start now if they do
 * not delay it. Source: Lifka 1995, "The ANL/IBM SP scheduling system".
 */
export interface Reservation {
  readonly claim: Claim;
  /** Epoch ms; null when it starts as soon as enough of what runs there, without a time limit, has ended. */
  readonly startAt: EpochMs | null;
  /** Where: one node, or those of a gang's ranks, each with what is free beside it then. */
  readonly places: ReadonlyMap<NodeId, Beside>;
}
