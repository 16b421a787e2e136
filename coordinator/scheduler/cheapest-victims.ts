import type { DemandClass } from '../model/demand.js';
import { give, hasRoom, type Room, take } from './room.js';
import type { Victim } from './victims.js';

/** Victims that together make room, and what they cost. */
export interface VictimSet {
  readonly victims: readonly Victim[];
  readonly cost: VictimCost;
}

/** Compared in this order: whom it hits, how many tasks, how much work is done again. */
export interface VictimCost {
  /** The highest priority among them. */
  readonly priority: number;
  readonly taskCount: number;
  readonly lostMs: number;
}

/** Sets looked at on one node; beyond it the best so far is taken. Enough for every set of 12. */
const MAX_STEPS = 8_192;

export function compareCosts(left: VictimCost, right: VictimCost): number {
  return left.priority - right.priority || left.taskCount - right.taskCount || left.lostMs - right.lostMs;
}

/**
 * The cheapest victims on one node after which a task of the demand fits; undefined when all of them are not enough.
 *
 * First the lowest ceiling of priority below which there is enough, then, by branch and bound, the fewest tasks and
 * among these the least work lost. Exact as long as MAX_STEPS are enough, else nearly so; always sufficient.
 * @param room     what is free on the node; left as it is
 * @param victims  the cheapest first
 * Pure.
 */
export function cheapestVictims(room: Room, demand: DemandClass, victims: readonly Victim[]): VictimSet | undefined {
  const scratch: Room = { ...room, gpuMillis: [...room.gpuMillis] };
  const enough = prefixWithRoom(scratch, demand, victims);
  if (enough === undefined) return undefined;
  const ceiling = victims[enough - 1]?.priority ?? Number.NEGATIVE_INFINITY;
  const search = new Search(scratch, demand, ceiling);
  for (const victim of victims.slice(0, enough)) takeAll(scratch, victim);
  return search.run(victims.filter(({ priority }) => priority <= ceiling));
}

/** How many victims, from the cheapest on, it takes; all of their priority may be had. */
function prefixWithRoom(scratch: Room, demand: DemandClass, victims: readonly Victim[]): number | undefined {
  for (let count = 0; ; count += 1) {
    if (hasRoom(scratch, demand)) return count;
    const next = victims[count];
    if (next === undefined) return undefined;
    giveAll(scratch, next);
  }
}

function giveAll(room: Room, { shares }: Victim): void {
  for (const share of shares) give(room, share);
}

function takeAll(room: Room, { shares }: Victim): void {
  for (const share of shares) take(room, share);
}

class Search {
  readonly #room: Room;
  readonly #demand: DemandClass;
  /** Every set that makes room has one of this priority. */
  readonly #priority: number;
  #stepCount = 0;

  constructor(room: Room, demand: DemandClass, priority: number) {
    this.#room = room;
    this.#demand = demand;
    this.#priority = priority;
  }

  run(victims: readonly Victim[]): VictimSet {
    return this.#extend([], victims, this.#greedy(victims));
  }

  /** Takes them in order until there is room, and then leaves out again whom it can, the dearest first. */
  #greedy(victims: readonly Victim[]): VictimSet {
    let chosen: Victim[] = [];
    for (const victim of victims) {
      if (hasRoom(this.#room, this.#demand)) break;
      giveAll(this.#room, victim);
      chosen.push(victim);
    }
    for (const victim of chosen.toReversed()) {
      takeAll(this.#room, victim);
      if (hasRoom(this.#room, this.#demand)) chosen = chosen.filter((other) => other !== victim);
      else giveAll(this.#room, victim);
    }
    for (const victim of chosen) takeAll(this.#room, victim);
    return { victims: chosen, cost: this.#costOf(chosen) };
  }

  /** The cheapest of the best so far and all sets that hold `chosen` and some of the rest. */
  #extend(chosen: readonly Victim[], rest: readonly Victim[], soFar: VictimSet): VictimSet {
    this.#stepCount += 1;
    const cost = this.#costOf(chosen);
    if (this.#stepCount > MAX_STEPS || compareCosts(cost, soFar.cost) >= 0) return soFar;
    if (hasRoom(this.#room, this.#demand)) return { victims: chosen, cost };
    let best = soFar;
    for (const [position, victim] of rest.entries()) {
      giveAll(this.#room, victim);
      best = this.#extend([...chosen, victim], rest.slice(position + 1), best);
      takeAll(this.#room, victim);
    }
    return best;
  }

  #costOf(victims: readonly Victim[]): VictimCost {
    let taskCount = 0;
    let lostMs = 0;
    for (const victim of victims) {
      taskCount += victim.allocationIds.length;
      lostMs += victim.lostMs;
    }
    return { priority: this.#priority, taskCount, lostMs };
  }
}
