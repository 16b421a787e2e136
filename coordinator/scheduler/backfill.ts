import type { EpochMs } from '../../shared/clock.js';
import type { NodeId } from '../../shared/ids.js';
import { fits, subtractResources } from '../../shared/resources.js';
import { obstacleTo } from '../model/feasible.js';
import type { Node, NodeClass } from '../model/node.js';
import type { ClusterView } from '../model/state.js';
import { usableNodes } from './slot.js';
import { type Claim, type Start, startOn } from './timeline.js';

/**
 * EASY backfill: the first task in order that cannot start gets a reservation, and later ones may start now if they do
 * not delay it. Source: Lifka 1995, "The ANL/IBM SP scheduling system".
 */
export interface Reservation extends Start {
  readonly claim: Claim;
}

/** A task that the plan at hand has placed; the view does not know it yet. */
export interface Started {
  readonly claim: Claim;
  /** Indexes of its devices. */
  readonly gpus: readonly number[];
}

export interface Present {
  readonly now: EpochMs;
  readonly started?: ReadonlyMap<NodeId, readonly Started[]>;
  /** Usable nodes, by name; found when absent. */
  readonly nodes?: readonly Node[];
}

/**
 * Nodes that could ever hold the task and are looked at for its reservation, by name: a plan's cost must not grow with
 * the cluster, and any node that is kept free ends the waiting.
 */
const MAX_NODES = 256;

/**
 * When and where the head task of the queue could start if nothing more were started, the earliest first.
 *
 * @returns undefined when it cannot, before something without a time limit ends
 * Cost: that of the allocations with a time limit on MAX_NODES nodes; O(nodes) when few could hold it. Pure.
 */
export function reserve(
  view: ClusterView,
  claim: Claim,
  { now, started, nodes = usableNodes(view) }: Present,
): Reservation | undefined {
  let first: Start | undefined;
  for (const node of candidates(nodes, claim)) {
    const start = startOn(view, { node, started: started?.get(node.id) ?? [] }, { claim, now });
    if (start && (!first || start.startAt < first.startAt)) first = start;
  }
  return first && { ...first, claim };
}

function candidates(nodes: readonly Node[], { demand }: Claim): Node[] {
  const holds = new Map<NodeClass, boolean>();
  const found: Node[] = [];
  for (const node of nodes) {
    if (found.length === MAX_NODES) break;
    const { nodeClass } = node;
    if (!holds.has(nodeClass)) holds.set(nodeClass, !obstacleTo(demand, nodeClass));
    if (holds.get(nodeClass)) found.push(node);
  }
  return found;
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
  if (demand.exclusive) return false;
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
  const [reserved, wanted] = [claim.demand.gpus, candidate.claim.demand.gpus];
  return reserved === null || wanted?.mig !== reserved.mig ? 0 : (wanted?.count ?? 0);
}
