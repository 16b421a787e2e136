import type { EpochMs } from '../../shared/clock.js';
import type { NodeId } from '../../shared/ids.js';
import { fits, isEligibleGpu, subtractResources } from '../../shared/resources.js';
import type { DemandClass } from '../model/demand.js';
import { obstacleTo } from '../model/feasible.js';
import type { Node, NodeClass } from '../model/node.js';
import type { ClusterView } from '../model/state.js';
import { type Beside, type Claim, type Started, togetherOf } from './outlook.js';
import type { Reservation } from './reservation.js';
import { reserveByTime } from './reserve-by-time.js';
import { reserveInTurn } from './reserve-in-turn.js';
import { usableNodes } from './slot.js';

export interface Present {
  readonly now: EpochMs;
  /** What the plan at hand has placed; the view does not know it yet. */
  readonly started?: ReadonlyMap<NodeId, readonly Started[]>;
  /** Usable nodes, by name; found when absent. */
  readonly nodes?: readonly Node[];
}

/**
 * Nodes that could ever hold the task and are looked at for its reservation, by name: a plan's cost must not grow with
 * the cluster, and any node that is kept free ends the waiting.
 */
const MAX_NODES = 256;
/** For a gang, so many times its ranks, if that is more. */
const NODES_PER_RANK = 2;

/**
 * When and where the head of the queue could start if nothing more were started, the earliest first; without a time
 * when nothing with a time limit makes room, so that it starves in no case.
 *
 * @returns undefined when no usable nodes could ever hold it
 * Cost: that of the allocations on MAX_NODES nodes; O(nodes) when few could hold it. Pure.
 */
export function reserve(
  view: ClusterView,
  claim: Claim,
  { now, started, nodes = usableNodes(view) }: Present,
): Reservation | undefined {
  const occupied = nodesFor(claim.demand, nodes).map((node) => ({ node, started: started?.get(node.id) ?? [] }));
  return reserveByTime(view, occupied, { claim, now }) ?? reserveInTurn(view, occupied, claim);
}

/** The nodes that are looked at for a task of the demand: the first MAX_NODES that could ever hold it, or more for a gang. */
export function nodesFor(demand: DemandClass, nodes: readonly Node[]): Node[] {
  const most = Math.max(MAX_NODES, NODES_PER_RANK * togetherOf(demand));
  const holds = new Map<NodeClass, boolean>();
  const found: Node[] = [];
  for (const node of nodes) {
    if (found.length === most) break;
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
 * A device that both could use counts against the reservation, since any of them may be chosen. Ranks of a gang, which
 * may yet be withdrawn, never start beside it. Cost: O(1). Pure.
 */
export function mayBackfill(reservation: Reservation, candidate: Candidate, now: EpochMs): boolean {
  const place = reservation.places.get(candidate.nodeId);
  if (!place || isGoneInTime(reservation, candidate, now)) return true;
  const { demand } = candidate.claim;
  if (demand.exclusive || demand.gangSize !== undefined) return false;
  return fits(demand.resources, place.spare) && contested(place, candidate) <= place.spareGpuCount;
}

/** The reservation after a task that `mayBackfill` has started: with less room beside it. */
export function afterBackfill(reservation: Reservation, candidate: Candidate, now: EpochMs): Reservation {
  const place = reservation.places.get(candidate.nodeId);
  if (!place || isGoneInTime(reservation, candidate, now)) return reservation;
  const left: Beside = {
    spare: subtractResources(place.spare, candidate.claim.demand.resources),
    spareGpuCount: place.spareGpuCount - contested(place, candidate),
    devices: place.devices,
  };
  return { ...reservation, places: new Map([...reservation.places, [candidate.nodeId, left]]) };
}

function isGoneInTime({ startAt }: Reservation, candidate: Candidate, now: EpochMs): boolean {
  return startAt !== null && now + candidate.claim.holdMs <= startAt;
}

/** Devices that the candidate takes and that could be meant for the reservation. */
function contested({ devices }: Beside, { claim }: Candidate): number {
  const { gpus } = claim.demand;
  return gpus !== null && devices.some((device) => isEligibleGpu(device, gpus)) ? gpus.count : 0;
}
