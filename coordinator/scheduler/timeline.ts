import { present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import type { NodeId } from '../../shared/ids.js';
import type { DemandClass } from '../model/demand.js';
import { MinHeap } from '../model/heap.js';
import type { Node } from '../model/node.js';
import type { ClusterView } from '../model/state.js';
import { type Claim, endOf, slotsIn, takeOne, togetherOf } from './outlook.js';
import { give, hasRoom, type Room, roomOf, type Share, shareOf, take } from './room.js';
import { isUsable, usableNodes } from './slot.js';

export interface Start {
  readonly startAt: EpochMs;
  /** Of a gang, the node of one of its ranks. */
  readonly nodeId: NodeId;
}

interface Place {
  readonly now: Room;
  /** The same when every attempt that has a time limit has ended. */
  readonly eventually: Room;
}

/**
 * What will be free when, if nothing ends before its time limit and tasks start strictly one after the other.
 *
 * Attempts without a time limit count as endless, those beyond theirs as ending at once. An estimate for people and the
 * ground of reservations; correctness depends on it nowhere. Nodes that are away or closed do not count.
 * Cost: O(nodes + allocations) to make; O(nodes + releases passed) a start.
 */
export class Timeline {
  readonly #places: readonly Place[];
  readonly #releases = new MinHeap<{ readonly place: Place; readonly share: Share }>();
  #at: EpochMs;

  constructor(view: ClusterView, now: EpochMs) {
    this.#at = now;
    this.#places = usableNodes(view).map((node) => this.#placeOf(view, node));
  }

  /**
   * Starts the task, or all ranks of a gang, as soon as they fit, not before those that were started before them;
   * undefined when they never do.
   */
  start(claim: Claim): Start | undefined {
    const { demand } = claim;
    const wanted = togetherOf(demand);
    if (!this.#couldEverHold(demand, wanted)) return undefined;
    const slotsOn = new Map<Place, number>();
    let total = 0;
    for (let places = this.#places; ; places = this.#advance()) {
      for (const place of places) {
        const slots = slotsIn(place.now, demand, wanted);
        total += slots - (slotsOn.get(place) ?? 0);
        slotsOn.set(place, slots);
        if (total >= wanted) return this.#takeAll(slotsOn, claim);
      }
    }
  }

  #couldEverHold(demand: DemandClass, wanted: number): boolean {
    let total = 0;
    for (const { eventually } of this.#places) {
      total += slotsIn(eventually, demand, wanted);
      if (total >= wanted) return true;
    }
    return false;
  }

  /** Moves to the next moment at which something is given back; the places where it is, by name. */
  #advance(): readonly Place[] {
    this.#at = Math.max(this.#at, present(this.#releases.firstAt(), 'release that makes room'));
    const changed = new Set<Place>();
    for (let at = this.#releases.firstAt(); at !== undefined && at <= this.#at; at = this.#releases.firstAt()) {
      const { place, share } = present(this.#releases.pop(), 'release');
      give(place.now, share);
      changed.add(place);
    }
    return [...changed].sort((left, right) => (left.now.node.id < right.now.node.id ? -1 : 1));
  }

  #takeAll(slotsOn: ReadonlyMap<Place, number>, { demand, holdMs }: Claim): Start {
    let first: Start | undefined;
    let left = togetherOf(demand);
    for (const [place, slots] of slotsOn) {
      for (let taken = Math.min(slots, left); taken > 0; taken -= 1, left -= 1) {
        const share = takeOne(place.now, demand);
        first ??= { startAt: this.#at, nodeId: place.now.node.id };
        if (holdMs === Number.POSITIVE_INFINITY) take(place.eventually, share);
        else this.#releases.push(this.#at + holdMs, { place, share });
      }
    }
    return present(first, 'start of a task that fits');
  }

  #placeOf(view: ClusterView, node: Node): Place {
    const place: Place = { now: roomOf(view, node), eventually: roomOf(view, node) };
    for (const id of view.index.usage(node.id).live) {
      const allocation = present(view.allocations.get(id), `allocation ${id}`);
      const until = endOf(view, allocation, this.#at);
      if (until === Number.POSITIVE_INFINITY) continue;
      const share = shareOf(node, allocation);
      give(place.eventually, share);
      this.#releases.push(until, { place, share });
    }
    return place;
  }
}

/** Usable nodes on which a task of the demand would fit now. Cost: O(nodes). */
export function nodesWithRoom(view: ClusterView, demand: DemandClass): Node[] {
  return [...view.nodes.values()].filter((node) => isUsable(node) && hasRoom(roomOf(view, node), demand));
}
