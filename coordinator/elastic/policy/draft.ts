import type { EpochMs } from '../../../shared/clock.js';
import type { NodeId } from '../../../shared/ids.js';
import type { DemandClass } from '../../model/demand.js';
import { meetingOf } from '../../model/feasible.js';
import type { Instance, ScaleReason } from '../../model/instance.js';
import type { NodeClass } from '../../model/node.js';
import type { ClusterView } from '../../model/state.js';
import type { ElasticDecision } from './decision.js';
import { type Fleet, fleetsFor, fleetsOf, type Source, sourceOf } from './fleet.js';
import { type Ahead, lookAhead, type Sample } from './look-ahead.js';
import { type Part, partsOf } from './parts.js';
import { type Place, placeComing, placesNow, type Waiting } from './places.js';

/** What has been decided so far, and how the cluster will be by it. */
export class Draft {
  decisions: readonly ElasticDecision[] = [];
  readonly now: EpochMs;
  readonly waiting: readonly Waiting[];
  places: readonly Place[];
  revisitAt: EpochMs | undefined;
  #fleets: readonly Fleet[];
  /** Names of the pools that may serve a demand: nothing that is decided changes them. */
  readonly #poolsFor = new Map<DemandClass, readonly string[]>();
  #parts: readonly Part[] | undefined;
  #effortLeft = 0;

  constructor(view: ClusterView, waiting: readonly Waiting[], now: EpochMs) {
    this.now = now;
    this.waiting = waiting;
    this.#fleets = fleetsOf(view, now);
    const coming = this.#fleets.flatMap(({ pool, coming }) =>
      coming.map(({ instance, readyAt }) => placeComing(pool, instance.nodeId, readyAt)),
    );
    this.places = [...placesNow(view, now), ...coming];
  }

  get fleets(): readonly Fleet[] {
    return this.#fleets;
  }

  fleet(name: string): Fleet | undefined {
    return this.#fleets.find(({ pool }) => pool.spec.name === name);
  }

  fleetsFor(demand: DemandClass): readonly Fleet[] {
    return this.#namesFor(demand).flatMap((name) => this.fleet(name) ?? []);
  }

  /** Is the fleet's pool the first that may serve the demand? */
  isHome(demand: DemandClass, { pool }: Fleet): boolean {
    return this.#namesFor(demand)[0] === pool.spec.name;
  }

  /** Those who wait, in parts that have nothing to do with each other. */
  get parts(): readonly Part[] {
    this.#parts ??= partsOf(
      this.waiting,
      new Set([
        ...this.places.map(({ room }) => room.node.nodeClass),
        ...this.#fleets.map(({ pool }) => pool.nodeClass),
      ]),
    );
    return this.#parts;
  }

  /** Those who wait for nodes on which such a task could run, or for others beside them. */
  waitingBeside(demand: DemandClass): readonly Waiting[] {
    const couldHold = (nodeClass: NodeClass): boolean => meetingOf(demand, nodeClass).couldHold;
    return this.parts.filter(({ classes }) => [...classes].some(couldHold)).flatMap(({ waiting }) => waiting);
  }

  /** From here on so many places, ends of tasks and waiting tasks are looked at; then the rest is left to the next decision. */
  allowEffort(effort: number): void {
    this.#effortLeft = effort;
  }

  /** Has all the effort been made? Then there will be another look soon. */
  get isSpent(): boolean {
    if (this.#effortLeft > 0) return false;
    this.lookAgainAt(this.now);
    return true;
  }

  /** What comes of the places for those of the waiting; see look-ahead.ts. */
  lookAhead(places: readonly Place[], waiting: readonly Waiting[], sample?: Sample): Ahead {
    const ahead = lookAhead(places, waiting, { now: this.now, ...(sample ? { sample } : {}) });
    this.#effortLeft -= ahead.effort;
    return ahead;
  }

  /** Has the machine more started; false when the pool can have none now. */
  order(fleet: Fleet, why: ScaleReason): boolean {
    return this.orderAll(fleet, { most: 1 }, why) > 0;
  }

  /** Has machines more started, each the quickest way; how many. */
  orderAll(fleet: Fleet, machines: Machines, why: ScaleReason): number {
    const offers = this.offers(fleet, machines);
    const decided = offers.flatMap(({ source }) => decisionOf(fleet, source, why) ?? []);
    this.decisions = [...this.decisions, ...decided];
    this.places = [...this.places, ...offers.map(({ place }) => place)];
    const [last] = offers.slice(-1);
    if (last) this.#replace(last.after);
    return offers.length;
  }

  /** Machines more, each the quickest way, as far as the pool can have them now. */
  offers(fleet: Fleet, { most, atOnce }: Machines): readonly Offer[] {
    const found: Offer[] = [];
    for (let before = fleet; found.length < most; ) {
      const source = sourceOf(before, this.now, atOnce);
      if (!source) break;
      const place = this.#placeOf(before, source);
      const after = started(before, source, place.readyAt);
      found.push({ source, place, after });
      before = after;
    }
    return found;
  }

  /** Makes one that is not needed now, to be parked. */
  make(fleet: Fleet, why: ScaleReason): boolean {
    if (sourceOf({ ...fleet, closing: [], suspended: [], parking: [] }, this.now)?.kind !== 'request') return false;
    this.decisions = [...this.decisions, { kind: 'request', pool: fleet.pool.spec.name, why }];
    this.#replace(requested(fleet));
    return true;
  }

  close(fleet: Fleet, instance: Instance, reason: string): void {
    const close = { kind: 'close', instanceId: instance.id, to: fleet.pool.spec.onIdle, reason } as const;
    this.decisions = [...this.decisions, close];
    this.places = this.without(instance);
    this.#replace({ ...fleet, open: fleet.open.filter(({ id }) => id !== instance.id) });
  }

  without({ nodeId }: Instance): readonly Place[] {
    return this.places.filter((place) => place.nodeId !== nodeId);
  }

  lookAgainAt(at: EpochMs): void {
    this.revisitAt = Math.min(this.revisitAt ?? at, at);
  }

  #namesFor(demand: DemandClass): readonly string[] {
    let names = this.#poolsFor.get(demand);
    if (!names) {
      names = fleetsFor(demand, this.#fleets).map(({ pool }) => pool.spec.name);
      this.#poolsFor.set(demand, names);
    }
    return names;
  }

  #placeOf({ pool, count }: Fleet, source: Source): Place {
    const nodeId = source.kind === 'request' ? (`${pool.spec.name}+${count}` as NodeId) : source.instance.nodeId;
    return placeComing(pool, nodeId, this.now + source.leadMs);
  }

  #replace(fleet: Fleet): void {
    this.#fleets = this.#fleets.map((each) => (each.pool === fleet.pool ? fleet : each));
  }
}

export interface Machines {
  readonly most: number;
  /** How many orders the provider may have left to answer; when absent, as many as it has earned. */
  readonly atOnce?: number;
}

/** A machine more that a pool could have. */
export interface Offer {
  readonly source: Source;
  readonly place: Place;
  /** The fleet with it. */
  readonly after: Fleet;
}

/** Nothing for a machine that has to be suspended before it can be resumed. */
function decisionOf({ pool }: Fleet, source: Source, why: ScaleReason): ElasticDecision | undefined {
  switch (source.kind) {
    case 'await':
      return undefined;
    case 'request':
      return { kind: 'request', pool: pool.spec.name, why };
    default:
      return { kind: source.kind, instanceId: source.instance.id, why };
  }
}

function started(fleet: Fleet, source: Source, readyAt: EpochMs): Fleet {
  if (source.kind === 'request') {
    return requested(fleet);
  }
  const { instance } = source;
  const without = (machines: readonly Instance[]): readonly Instance[] =>
    machines.filter(({ id }) => id !== instance.id);
  if (source.kind === 'reopen') {
    return { ...fleet, closing: without(fleet.closing), open: [...fleet.open, instance] };
  }
  const coming = [...fleet.coming, { instance, readyAt }];
  if (source.kind === 'resume') return { ...fleet, suspended: without(fleet.suspended), coming };
  return { ...fleet, parking: fleet.parking.filter((each) => each.instance.id !== instance.id), coming };
}

function requested(fleet: Fleet): Fleet {
  const { count, unansweredCount, orderedCount } = fleet;
  return { ...fleet, count: count + 1, unansweredCount: unansweredCount + 1, orderedCount: orderedCount + 1 };
}
