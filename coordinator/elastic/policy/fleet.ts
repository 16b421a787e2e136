import type { EpochMs } from '../../../shared/clock.js';
import type { DemandClass } from '../../model/demand.js';
import { meetingOf } from '../../model/feasible.js';
import type { Instance } from '../../model/instance.js';
import { isLasting, type Pool } from '../../model/pool.js';
import type { ClusterView } from '../../model/state.js';
import { isUsable } from '../../scheduler/slot.js';

/** A pool with its machines, by what can be expected of them. */
export interface Fleet {
  readonly pool: Pool;
  /** Their nodes take tasks. */
  readonly open: readonly Instance[];
  /** Ordered, and expected to join. */
  readonly coming: readonly Coming[];
  /** To be switched off once they hold nothing; until then they can be taken back. */
  readonly closing: readonly Instance[];
  readonly suspended: readonly Instance[];
  /** On their way to be suspended; then they can be resumed. */
  readonly parking: readonly Coming[];
  /** Of machines that exist or are on their way, in whatever phase. */
  readonly count: number;
  /** Orders to make one that the provider has not answered yet, though it still may. */
  readonly unansweredCount: number;
  /** Orders to make one that have just been decided. */
  readonly orderedCount: number;
}

export interface Coming {
  readonly instance: Instance;
  readonly readyAt: EpochMs;
}

export function fleetsOf(view: ClusterView, now: EpochMs): readonly Fleet[] {
  const machines = new Map<string, Instance[]>([...view.pools.keys()].map((name) => [name, []]));
  for (const instance of view.instances.values()) machines.get(instance.pool)?.push(instance);
  return [...view.pools.values()].map((pool) =>
    fleetOf(view, pool, { machines: machines.get(pool.spec.name) ?? [], now }),
  );
}

function fleetOf(
  view: ClusterView,
  pool: Pool,
  { machines, now }: { readonly machines: readonly Instance[]; readonly now: EpochMs },
): Fleet {
  const inPhase = (...kinds: readonly Instance['phase']['kind'][]): readonly Instance[] =>
    machines.filter(({ phase }) => kinds.includes(phase.kind));
  const isOpen = ({ nodeId }: Instance): boolean => {
    const node = view.nodes.get(nodeId);
    return node !== undefined && isUsable(node);
  };
  return {
    pool,
    open: inPhase('joined').filter(isOpen),
    coming: inPhase('requested', 'booting', 'resuming').map((instance) => {
      return { instance, readyAt: readyAt(pool, instance, now) };
    }),
    closing: inPhase('closing'),
    suspended: inPhase('suspended'),
    parking: inPhase('stopping').flatMap((instance) => parkingOf(pool, instance, now)),
    count: machines.length,
    unansweredCount: inPhase('requested').filter(({ phase }) => now < phase.since + ANSWER_MS).length,
    orderedCount: 0,
  };
}

/** When a machine that is late will come, nobody knows: with every moment, later. */
const LATE_SHARE = 0.1;

function readyAt({ times }: Pool, { phase, requestedAt }: Instance, now: EpochMs): EpochMs {
  const [since, usualMs] = phase.kind === 'resuming' ? [phase.since, times.resumeMs] : [requestedAt, times.bootMs];
  return Math.max(since + usualMs, now + LATE_SHARE * usualMs);
}

/** When a machine that is being suspended can be there again. */
function parkingOf({ times }: Pool, instance: Instance, now: EpochMs): readonly Coming[] {
  const { phase } = instance;
  if (phase.kind !== 'stopping' || phase.to !== 'suspend') return [];
  return [{ instance, readyAt: Math.max(now, phase.since + times.offMs) + times.resumeMs }];
}

/** How a machine more could be had, the quickest way; `await`: by resuming one, once it has been suspended. */
export type Source =
  | { readonly kind: 'reopen' | 'resume'; readonly instance: Instance; readonly leadMs: number }
  | { readonly kind: 'await'; readonly instance: Instance; readonly leadMs: number }
  | { readonly kind: 'request'; readonly leadMs: number };

export function sourceOf(fleet: Fleet, now: EpochMs, atOnce = orderedAtOnce(fleet)): Source | undefined {
  const { pool, closing, suspended, parking, count, unansweredCount } = fleet;
  const { bootMs, resumeMs } = pool.times;
  if (pool.intake.kind !== 'enabled') return undefined;
  const [shut] = closing;
  if (shut) return { kind: 'reopen', instance: shut, leadMs: 0 };
  const isCooling = pool.cooling !== null && now < pool.cooling.until;
  const parked = suspended.find(({ phase }) => !isCooling || phase.since < (pool.cooling?.since ?? 0));
  if (parked) return { kind: 'resume', instance: parked, leadMs: resumeMs };
  const [going] = parking.toSorted((left, right) => left.readyAt - right.readyAt);
  if (going && going.readyAt - now < bootMs)
    return { kind: 'await', instance: going.instance, leadMs: going.readyAt - now };
  if (isCooling || count >= Math.min(pool.spec.max, pool.spec.quota ?? pool.spec.max)) return undefined;
  return unansweredCount < atOnce ? { kind: 'request', leadMs: bootMs } : undefined;
}

/** What has been found not to be worth it is looked at again after this part of the time that its machines take to come. */
const REVISIT_SHARE = 0.1;

export function revisitMs({ pool: { spec, times } }: Fleet): number {
  const leadMs = spec.onIdle === 'suspend' ? Math.min(times.resumeMs, times.bootMs) : times.bootMs;
  return REVISIT_SHARE * leadMs;
}

/** Of a provider that has said no, or has said little yet, one machine is asked for at a time. */
function orderedAtOnce({ pool, count, unansweredCount }: Fleet): number {
  if (pool.cooling !== null) return 1;
  return Math.max(1, Math.floor((count - unansweredCount) * GROWTH));
}

const GROWTH = 0.5;
/** An order that is not answered for longer holds up no other. */
export const ANSWER_MS = 5_000;

/**
 * The fleets that may serve a demand: its home, where a task costs least, then where that falls back to. One that a person
 * has to mend is nobody's home as long as there is another.
 */
export function fleetsFor(demand: DemandClass, fleets: readonly Fleet[]): readonly Fleet[] {
  const slotsOn = ({ pool }: Fleet): number => meetingOf(demand, pool.nodeClass).slots;
  const able = fleets.filter((fleet) => fleet.pool.intake.kind === 'enabled' && slotsOn(fleet) > 0);
  const priceOf = (fleet: Fleet): number => fleet.pool.spec.prices.onPerHour / slotsOn(fleet);
  const [home] = able.toSorted(
    (left, right) => Number(isBroken(left)) - Number(isBroken(right)) || priceOf(left) - priceOf(right),
  );
  if (!home) return [];
  const others = home.pool.spec.fallback.flatMap((name) => able.filter(({ pool }) => pool.spec.name === name));
  return [home, ...others];
}

function isBroken({ pool: { cooling } }: Fleet): boolean {
  return cooling !== null && isLasting(cooling.fault);
}
