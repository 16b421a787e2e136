import type { EpochMs } from '../../../shared/clock.js';
import type { NodeId } from '../../../shared/ids.js';
import type { DemandClass } from '../../model/demand.js';
import type { Instance, ScaleReason } from '../../model/instance.js';
import type { ClusterView } from '../../model/state.js';
import type { ElasticDecision } from './decision.js';
import { type Fleet, fleetsFor, fleetsOf, type Source, sourceOf } from './fleet.js';
import { type Place, placeComing, placesNow, type Waiting } from './look-ahead.js';

/** What has been decided so far, and how the cluster will be by it. */
export class Draft {
  readonly decisions: ElasticDecision[] = [];
  readonly now: EpochMs;
  readonly waiting: readonly Waiting[];
  places: readonly Place[];
  revisitAt: EpochMs | undefined;
  #fleets: readonly Fleet[];

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
    return fleetsFor(demand, this.#fleets);
  }

  /** The place of a machine more; undefined when the pool can have none now. */
  offer(fleet: Fleet): Place | undefined {
    const source = sourceOf(fleet, this.now);
    return source && this.#placeOf(fleet, source);
  }

  /** Has the machine more started; false when the pool can have none now. */
  order(fleet: Fleet, why: ScaleReason): boolean {
    const source = sourceOf(fleet, this.now);
    if (!source) return false;
    const decision = decisionOf(fleet, source, why);
    if (decision) this.decisions.push(decision);
    const place = this.#placeOf(fleet, source);
    this.places = [...this.places, place];
    this.#replace(started(fleet, source, place.readyAt));
    return true;
  }

  /** Makes one that is not needed now, to be parked. */
  make(fleet: Fleet, why: ScaleReason): boolean {
    if (sourceOf({ ...fleet, closing: [], suspended: [], parking: [] }, this.now)?.kind !== 'request') return false;
    this.decisions.push({ kind: 'request', pool: fleet.pool.spec.name, why });
    this.#replace(requested(fleet));
    return true;
  }

  close(fleet: Fleet, instance: Instance, reason: string): void {
    this.decisions.push({ kind: 'close', instanceId: instance.id, to: fleet.pool.spec.onIdle, reason });
    this.places = this.without(instance);
    this.#replace({ ...fleet, open: fleet.open.filter(({ id }) => id !== instance.id) });
  }

  without({ nodeId }: Instance): readonly Place[] {
    return this.places.filter((place) => place.nodeId !== nodeId);
  }

  lookAgainAt(at: EpochMs): void {
    this.revisitAt = Math.min(this.revisitAt ?? at, at);
  }

  #placeOf({ pool, count }: Fleet, source: Source): Place {
    const nodeId = source.kind === 'request' ? (`${pool.spec.name}+${count}` as NodeId) : source.instance.nodeId;
    return placeComing(pool, nodeId, this.now + source.leadMs);
  }

  #replace(fleet: Fleet): void {
    this.#fleets = this.#fleets.map((each) => (each.pool === fleet.pool ? fleet : each));
  }
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
