import type { EpochMs } from '../../../shared/clock.js';
import type { DemandClass } from '../../model/demand.js';
import { meetingOf } from '../../model/feasible.js';
import { MinHeap } from '../../model/heap.js';
import type { NodeClass } from '../../model/node.js';
import { slotsFree, takeOne, togetherOf } from '../../scheduler/outlook.js';
import { give, hasFree, type Room, type Share } from '../../scheduler/room.js';
import { LOOK_AHEAD, type Place, type Waiting } from './places.js';

export interface Ahead {
  /** When each waiting task, or gang, is expected to start, in their order. */
  readonly starts: readonly EpochMs[];
  /** Slots of the sampled demand that are free at each sampled moment. */
  readonly free: readonly number[];
  /** Places, ends of tasks and waiting tasks that were looked at. */
  readonly effort: number;
}

export interface Sample {
  readonly demand: DemandClass;
  readonly moments: readonly EpochMs[];
}

/**
 * Serves the waiting tasks in their order as room comes up, each where it fits, a gang where all its ranks do, none
 * holding room back for another.
 *
 * An estimate: it decides about machines, never about tasks. Room is looked for where it has just come up, since
 * elsewhere there was none for anybody a moment ago.
 * Cost: O(places + (ends before the last start + waiting) x demands that meet there).
 */
export function lookAhead(
  places: readonly Place[],
  waiting: readonly Waiting[],
  options: { readonly now: EpochMs; readonly sample?: Sample },
): Ahead {
  return new LookAhead(places, waiting, options).run();
}

/** Tasks of one demand that wait, in their order. */
interface Line {
  readonly demand: DemandClass;
  readonly positions: number[];
  next: number;
  /** Of a gang: room for its ranks, over all nodes. */
  readonly room: SlotCount | undefined;
}

/** What may use the nodes of a class, and what counts its slots there. */
interface Users {
  readonly lines: ReadonlySet<Line>;
  readonly counts: readonly SlotCount[];
}

interface Standing {
  readonly room: Room;
  readonly users: Users;
  /** Those that were there first are filled first. */
  readonly order: number;
}

type EndOfTask = Extract<Happening, { kind: 'end' }>;

type Happening =
  | { readonly kind: 'ready'; readonly place: Place; readonly users: Users }
  /** Of a task that runs on the place, the one of this number in its releases; the next follows it. */
  | { readonly kind: 'end'; readonly standing: Standing; readonly place: Place; readonly number: number }
  | { readonly kind: 'release'; readonly standing: Standing; readonly share: Share }
  | { readonly kind: 'sample' };

/** More free slots on one node than this are as good as this many. */
const MAX_SLOTS = 64;

class LookAhead {
  readonly #waiting: readonly Waiting[];
  readonly #lines = new Map<DemandClass, Line>();
  readonly #sample: SlotCount | undefined;
  readonly #sampleCount: number;
  readonly #happenings = new MinHeap<Happening>();
  readonly #starts: EpochMs[];
  #openCount: number;
  #standingCount = 0;
  #effort: number;

  constructor(
    places: readonly Place[],
    waiting: readonly Waiting[],
    { now, sample }: { readonly now: EpochMs; readonly sample?: Sample },
  ) {
    this.#waiting = waiting;
    this.#openCount = waiting.length;
    this.#effort = waiting.length;
    this.#starts = waiting.map(() => now + LOOK_AHEAD.neverMs);
    this.#sample = sample && new SlotCount(sample.demand, MAX_SLOTS);
    this.#sampleCount = sample?.moments.length ?? 0;
    for (const [position, { demand }] of waiting.entries()) this.#lineOf(demand).positions.push(position);
    const usersOf = new Map<NodeClass, Users | undefined>();
    for (const place of places) {
      const { nodeClass } = place.room.node;
      if (!usersOf.has(nodeClass)) usersOf.set(nodeClass, this.#usersOf(nodeClass));
      const users = usersOf.get(nodeClass);
      if (users) this.#happenings.push(place.readyAt, { kind: 'ready', place, users });
    }
    for (const at of sample?.moments ?? []) this.#happenings.push(at, { kind: 'sample' });
  }

  run(): Ahead {
    const free: number[] = [];
    const happenings = this.#happenings;
    for (let at = happenings.firstAt(); at !== undefined; at = happenings.firstAt()) {
      const changed = new Set<Standing>();
      let isSampled = false;
      while (happenings.firstAt() === at) {
        const next = happenings.pop();
        if (next?.kind === 'ready') changed.add(this.#enter(next));
        else if (next?.kind === 'end') changed.add(this.#end(next));
        else if (next?.kind === 'release') changed.add(given(next.standing, next.share));
        else isSampled = true;
      }
      this.#serve(changed, at);
      if (isSampled && this.#sample) free.push(this.#sample.total);
      if (this.#openCount === 0 && free.length === this.#sampleCount) break;
    }
    return { starts: this.#starts, free, effort: this.#effort };
  }

  #lineOf(demand: DemandClass): Line {
    let line = this.#lines.get(demand);
    if (!line) {
      const together = togetherOf(demand);
      line = { demand, positions: [], next: 0, room: together > 1 ? new SlotCount(demand, together) : undefined };
      this.#lines.set(demand, line);
    }
    return line;
  }

  /** Undefined for nodes that are of no interest. */
  #usersOf(nodeClass: NodeClass): Users | undefined {
    const couldHold = ({ demand }: { readonly demand: DemandClass }): boolean => meetingOf(demand, nodeClass).couldHold;
    const lines = [...this.#lines.values()].filter(couldHold);
    const counts = [...lines.map(({ room }) => room), this.#sample].filter((count) => count !== undefined);
    if (lines.length === 0 && counts.filter(couldHold).length === 0) return undefined;
    return { lines: new Set(lines), counts: counts.filter(couldHold) };
  }

  #enter({ place, users }: Extract<Happening, { kind: 'ready' }>): Standing {
    const room = { ...place.room, gpuMillis: [...place.room.gpuMillis] };
    const standing = { room, users, order: this.#standingCount };
    this.#standingCount += 1;
    this.#effort += 1;
    this.#expectEnd({ kind: 'end', standing, place, number: 0 });
    return standing;
  }

  #end({ standing, place, number }: EndOfTask): Standing {
    this.#expectEnd({ kind: 'end', standing, place, number: number + 1 });
    const release = place.releases[number];
    return release ? given(standing, release.share) : standing;
  }

  #expectEnd(end: EndOfTask): void {
    const at = end.place.releases[end.number]?.at;
    if (at === undefined) return;
    this.#effort += 1;
    this.#happenings.push(at, end);
  }

  /** Starts what fits now, given where room has come up. */
  #serve(changed: ReadonlySet<Standing>, at: EpochMs): void {
    const lines = new Set<Line>();
    for (const standing of changed) {
      recount(standing);
      for (const line of standing.users.lines) if (line.next < line.positions.length) lines.add(line);
    }
    const standings = [...changed].sort((left, right) => left.order - right.order);
    // Within a moment room only shrinks: what has been passed by a line is passed for good.
    const passed = new Map<Line, number>();
    for (let line = foremost(lines); line; line = foremost(lines)) {
      const shares = line.room ? sharesOfGang(line, line.room) : sharesOfOne(line, standings, passed);
      if (shares.length === 0) {
        lines.delete(line);
        continue;
      }
      this.#start(line, shares, at);
      if (line.next >= line.positions.length) lines.delete(line);
    }
  }

  #start(line: Line, shares: readonly Holding[], at: EpochMs): void {
    const position = line.positions[line.next] ?? 0;
    const runMs = this.#waiting[position]?.runMs ?? 0;
    for (const { standing, share } of shares) {
      this.#happenings.push(at + runMs, { kind: 'release', standing, share });
      recount(standing);
    }
    this.#starts[position] = at;
    line.next += 1;
    this.#openCount -= 1;
  }
}

interface Holding {
  readonly standing: Standing;
  readonly share: Share;
}

/** Takes the place of the line's next task; nothing when there is none. */
function sharesOfOne(line: Line, standings: readonly Standing[], passed: Map<Line, number>): readonly Holding[] {
  for (let place = passed.get(line) ?? 0; place < standings.length; place += 1) {
    const standing = standings[place];
    if (!standing?.users.lines.has(line) || !hasFree(standing.room, line.demand)) continue;
    passed.set(line, place);
    return [{ standing, share: takeOne(standing.room, line.demand) }];
  }
  passed.set(line, standings.length);
  return [];
}

/** Takes the places of all ranks of the line's next gang, or none. */
function sharesOfGang({ demand }: Line, room: SlotCount): readonly Holding[] {
  let left = togetherOf(demand);
  if (room.total < left) return [];
  const found: Holding[] = [];
  for (const [standing, slots] of room.slots) {
    for (let taken = Math.min(slots, left); taken > 0; taken -= 1, left -= 1) {
      found.push({ standing, share: takeOne(standing.room, demand) });
    }
    if (left === 0) break;
  }
  return found;
}

/** How many tasks of a demand fit on all nodes together, kept up to date node by node. */
class SlotCount {
  readonly demand: DemandClass;
  readonly slots = new Map<Standing, number>();
  total = 0;
  readonly #mostOnOne: number;

  constructor(demand: DemandClass, mostOnOne: number) {
    this.demand = demand;
    this.#mostOnOne = mostOnOne;
  }

  recount(standing: Standing): void {
    const slots = slotsFree(standing.room, this.demand, this.#mostOnOne);
    this.total += slots - (this.slots.get(standing) ?? 0);
    this.slots.set(standing, slots);
  }
}

function recount(standing: Standing): void {
  for (const count of standing.users.counts) count.recount(standing);
}

function given(standing: Standing, share: Share): Standing {
  give(standing.room, share);
  return standing;
}

/** The line whose next task is the first of all. */
function foremost(lines: ReadonlySet<Line>): Line | undefined {
  let first: Line | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const line of lines) {
    const position = line.positions[line.next] ?? least;
    if (position >= least) continue;
    first = line;
    least = position;
  }
  return first;
}
