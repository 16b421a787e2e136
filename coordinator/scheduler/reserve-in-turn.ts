import { present } from '../../shared/assert.js';
import type { NodeId } from '../../shared/ids.js';
import { WHOLE_GPU_MILLIS } from '../../shared/resources.js';
import type { DemandClass } from '../model/demand.js';
import type { ClusterView } from '../model/state.js';
import { type Beside, besideTasks, type Claim, type Occupied, slotsIn, togetherOf } from './outlook.js';
import type { Reservation } from './reservation.js';
import { give, positionsOf, type Room, type Share, shareFor, shareOf, take } from './room.js';

/** A node that is kept for so many tasks. */
interface Kept {
  readonly occupied: Occupied;
  readonly count: number;
  /** Tasks there that have to end first. */
  readonly endCount: number;
  readonly beside: Beside;
}

/**
 * Where the task, or all ranks of a gang, start once enough tasks without a time limit have ended: on the nodes where
 * fewest have to.
 *
 * On a node the oldest tasks are those that have to end: going from the newest back, whatever fits beside the head may
 * stay. What starts there later fits beside it too and is the newest then, so the number of tasks that have to end
 * never grows, and the head does not starve as long as tasks end at all.
 * @returns undefined when the nodes could not hold it even if they were empty
 * Cost: O(n log n) for the n allocations on the nodes. Pure.
 */
export function reserveInTurn(view: ClusterView, nodes: readonly Occupied[], claim: Claim): Reservation | undefined {
  const { demand } = claim;
  let wanted = togetherOf(demand);
  const kept = nodes.flatMap((node) => keepOn(view, node, { demand, most: wanted }));
  kept.sort(
    (left, right) =>
      left.endCount / left.count - right.endCount / right.count ||
      (left.occupied.node.id < right.occupied.node.id ? -1 : 1),
  );
  const places = new Map<NodeId, Beside>();
  for (const { occupied, count, beside } of kept) {
    if (wanted === 0) break;
    // The last node may hold more ranks than are left.
    const last = count > wanted ? keepOn(view, occupied, { demand, most: wanted })[0] : undefined;
    places.set(occupied.node.id, last?.beside ?? beside);
    wanted -= Math.min(count, wanted);
  }
  return wanted > 0 ? undefined : { claim, startAt: null, places };
}

/** The node when it is kept for as many tasks as it holds; nothing when it holds none. */
function keepOn(
  view: ClusterView,
  occupied: Occupied,
  { demand, most }: { readonly demand: DemandClass; readonly most: number },
): Kept[] {
  const room = emptyRoom(occupied);
  const count = slotsIn(room, demand, most);
  if (count === 0) return [];
  let endCount = 0;
  for (const share of newestFirst(view, occupied)) {
    take(room, share);
    if (slotsIn(room, demand, count) === count) continue;
    give(room, share);
    endCount += 1;
  }
  return [{ occupied, count, endCount, beside: besideTasks(room, demand, count) }];
}

function emptyRoom({ node }: Occupied): Room {
  const { capacity, gpus } = node.inventory;
  return { node, free: capacity, gpuMillis: gpus.map(() => WHOLE_GPU_MILLIS) };
}

/** What tasks on the node hold: those of the plan at hand, then the allocations, the newest first. */
function newestFirst(view: ClusterView, { node, started }: Occupied): Share[] {
  const planned = started.map(({ claim, gpus }) => shareFor(node, claim.demand, positionsOf(node, gpus)));
  const live = [...view.index.usage(node.id).live].map((id) => present(view.allocations.get(id), `allocation ${id}`));
  live.sort((left, right) => right.committedAt - left.committedAt || (left.id < right.id ? -1 : 1));
  return [...planned, ...live.map((allocation) => shareOf(node, allocation))];
}
