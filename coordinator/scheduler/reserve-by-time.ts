import { present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import type { NodeId } from '../../shared/ids.js';
import { MinHeap } from '../model/heap.js';
import type { ClusterView } from '../model/state.js';
import { type Beside, besideTasks, type Claim, type Occupied, roomsOver, slotsIn, togetherOf } from './outlook.js';
import type { Reservation } from './reservation.js';
import { hasRoom, type Room } from './room.js';

/** The first moment at which so many tasks more fit on a node than before. */
interface Growth {
  readonly node: Occupied;
  readonly slots: number;
}

/**
 * The earliest moment at which the task, or all ranks of a gang, fit, as far as time limits say.
 *
 * @returns undefined when they never do before something without a time limit ends
 * Cost: O(n log n) for the n allocations with a time limit on the nodes. Pure.
 */
export function reserveByTime(
  view: ClusterView,
  nodes: readonly Occupied[],
  { claim, now }: { readonly claim: Claim; readonly now: EpochMs },
): Reservation | undefined {
  const wanted = togetherOf(claim.demand);
  if (wanted === 1) return reserveOne(view, nodes, { claim, now });
  const moments = new MinHeap<Growth>();
  for (const node of nodes) {
    for (const { at, slots } of growth(view, node, { claim, now })) moments.push(at, { node, slots });
  }
  const slotsOn = new Map<Occupied, number>();
  let total = 0;
  for (let at = moments.firstAt(); at !== undefined; at = moments.firstAt()) {
    // All of one moment, so that the order of nodes at the same moment decides nothing but names.
    for (; moments.firstAt() === at; ) {
      const { node, slots } = present(moments.pop(), 'moment');
      total += slots - (slotsOn.get(node) ?? 0);
      slotsOn.set(node, slots);
    }
    if (total >= wanted) return { claim, startAt: at, places: placesAt(view, slotsOn, { claim, now, at }) };
  }
  return undefined;
}

/** One task: a node is looked at only as far as it could be earlier than the best so far. */
function reserveOne(
  view: ClusterView,
  nodes: readonly Occupied[],
  { claim, now }: { readonly claim: Claim; readonly now: EpochMs },
): Reservation | undefined {
  let first: { readonly node: Occupied; readonly at: EpochMs } | undefined;
  for (const node of nodes) {
    for (const { at, room } of roomsOver(view, node, { now, ...(first ? { before: first.at } : {}) })) {
      if (!hasRoom(room, claim.demand)) continue;
      first = { node, at };
      break;
    }
    if (first?.at === now) break;
  }
  if (!first) return undefined;
  const { node, at } = first;
  const beside = besideTasks(roomAt(view, node, { now, at }), claim.demand, 1);
  return { claim, startAt: at, places: new Map([[node.node.id, beside]]) };
}

/** How many of the tasks fit on the node from when on, ascending; nothing of a node where none ever does. */
function growth(
  view: ClusterView,
  node: Occupied,
  { claim, now }: { readonly claim: Claim; readonly now: EpochMs },
): { readonly at: EpochMs; readonly slots: number }[] {
  const wanted = togetherOf(claim.demand);
  const found: { readonly at: EpochMs; readonly slots: number }[] = [];
  let most = 0;
  for (const { at, room } of roomsOver(view, node, { now })) {
    const slots = slotsIn(room, claim.demand, wanted);
    if (slots <= most) continue;
    most = slots;
    found.push({ at, slots });
    if (slots >= wanted) break;
  }
  return found;
}

/** Fills the nodes that take most, then by name. */
function placesAt(
  view: ClusterView,
  slotsOn: ReadonlyMap<Occupied, number>,
  { claim, now, at }: { readonly claim: Claim; readonly now: EpochMs; readonly at: EpochMs },
): ReadonlyMap<NodeId, Beside> {
  const nodes = [...slotsOn].sort(
    ([left, leftSlots], [right, rightSlots]) => rightSlots - leftSlots || (left.node.id < right.node.id ? -1 : 1),
  );
  const places = new Map<NodeId, Beside>();
  let left = togetherOf(claim.demand);
  for (const [node, slots] of nodes) {
    if (left === 0) break;
    const count = Math.min(slots, left);
    left -= count;
    places.set(node.node.id, besideTasks(roomAt(view, node, { now, at }), claim.demand, count));
  }
  return places;
}

function roomAt(view: ClusterView, node: Occupied, { now, at }: { readonly now: EpochMs; readonly at: EpochMs }): Room {
  let found: Room | undefined;
  for (const moment of roomsOver(view, node, { now })) {
    if (moment.at > at) break;
    found = { ...moment.room, gpuMillis: [...moment.room.gpuMillis] };
  }
  return present(found, 'room of a node');
}
