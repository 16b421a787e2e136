import { present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import type { NodeId } from '../../shared/ids.js';
import type { StepSpec } from '../../shared/job-spec/spec.js';
import { type Resources, subtractResources } from '../../shared/resources.js';
import type { Allocation } from '../model/allocation.js';
import type { DemandClass } from '../model/demand.js';
import { MinHeap } from '../model/heap.js';
import { resourcesOn } from '../model/hold.js';
import type { Node } from '../model/node.js';
import { type ClusterView, stepOf } from '../model/state.js';
import { give, hasRoom, positionsOf, type Room, roomOf, type Share, shareFor, shareOf, take } from './room.js';
import { isUsable, openGpus, usableNodes } from './slot.js';

/** A task that is to start, and for how long it would hold its place at most; Infinity without a time limit. */
export interface Claim {
  readonly demand: DemandClass;
  readonly holdMs: number;
}

export interface Start {
  readonly startAt: EpochMs;
  readonly nodeId: NodeId;
  /** What is free on the node beside the task then, and devices that would have served it too. */
  readonly spare: Resources;
  readonly spareGpuCount: number;
}

/** The longest that an attempt holds its node: its time limit, and the time it has to stop. */
export function holdMsOf({ timeLimitMs, stop }: Pick<StepSpec, 'timeLimitMs' | 'stop'>): number {
  return timeLimitMs === null ? Number.POSITIVE_INFINITY : timeLimitMs + stop.graceMs;
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

  /** Starts the task as soon as it fits, not before those that were started before it; undefined when it never does. */
  start(claim: Claim): Start | undefined {
    if (!this.#places.some(({ eventually }) => hasRoom(eventually, claim.demand))) return undefined;
    let places = this.#places;
    for (;;) {
      const place = places.find(({ now }) => hasRoom(now, claim.demand));
      if (place) return this.#take(place, claim);
      places = this.#advance();
    }
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

  #take(place: Place, { demand, holdMs }: Claim): Start {
    const devices = demand.gpus === null ? [] : openGpus(place.now, demand.gpus);
    const share = shareFor(place.now.node, demand, devices);
    const start = beside(place.now, demand, this.#at);
    take(place.now, share);
    if (holdMs === Number.POSITIVE_INFINITY) take(place.eventually, share);
    else this.#releases.push(this.#at + holdMs, { place, share });
    return start;
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

/** When the attempt is gone at the latest, but not before now, whatever its limit was. */
function endOf(view: ClusterView, allocation: Allocation, now: EpochMs): EpochMs {
  const { spec } = present(stepOf(view, allocation.ref), `step of ${allocation.id}`);
  const { phase, startedAt, committedAt } = allocation;
  if (phase.kind === 'stopping') return Math.max(now, phase.since + spec.stop.graceMs);
  return Math.max(now, (startedAt ?? committedAt) + holdMsOf(spec));
}

/** Usable nodes on which a task of the demand would fit now. Cost: O(nodes). */
export function nodesWithRoom(view: ClusterView, demand: DemandClass): Node[] {
  return [...view.nodes.values()].filter((node) => isUsable(node) && hasRoom(roomOf(view, node), demand));
}

interface Occupied {
  readonly node: Node;
  /** Tasks on it that the view does not know yet, with their devices. */
  readonly started: readonly { readonly claim: Claim; readonly gpus: readonly number[] }[];
}

/**
 * When a task could start on one node if nothing more were started there; undefined when it never could.
 *
 * Cost: O(n log n) for the n allocations on the node that have a time limit. Pure.
 */
export function startOn(
  view: ClusterView,
  { node, started }: Occupied,
  { claim, now }: { readonly claim: Claim; readonly now: EpochMs },
): Start | undefined {
  const room = roomOf(view, node);
  const releases: { readonly at: EpochMs; readonly share: Share }[] = [];
  for (const { claim: other, gpus } of started) {
    const share = shareFor(node, other.demand, positionsOf(node, gpus));
    take(room, share);
    releases.push({ at: now + other.holdMs, share });
  }
  for (const id of view.index.accounts.limitedOn(node.id)) {
    const allocation = present(view.allocations.get(id), `allocation ${id}`);
    releases.push({ at: endOf(view, allocation, now), share: shareOf(node, allocation) });
  }
  releases.sort((left, right) => left.at - right.at);
  let at = now;
  for (let next = 0; !hasRoom(room, claim.demand); ) {
    at = releases[next]?.at ?? Number.POSITIVE_INFINITY;
    if (at === Number.POSITIVE_INFINITY) return undefined;
    for (; releases[next]?.at === at; next += 1) give(room, present(releases[next], 'release').share);
  }
  return beside(room, claim.demand, at);
}

/** The start, with what is left beside the task. */
function beside(room: Room, demand: DemandClass, startAt: EpochMs): Start {
  const { node, free } = room;
  const spare = subtractResources(free, resourcesOn(demand, node.inventory.capacity));
  if (demand.exclusive) return { startAt, nodeId: node.id, spare, spareGpuCount: 0 };
  const openCount = demand.gpus === null ? 0 : openGpus(room, demand.gpus).length;
  return { startAt, nodeId: node.id, spare, spareGpuCount: openCount - (demand.gpus?.count ?? 0) };
}
