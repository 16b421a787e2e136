import type { EpochMs } from '../../shared/clock.js';
import type { PlaceName, Preference } from '../../shared/job-spec/spec.js';
import { roughDuration } from '../../shared/units.js';
import type { Alternative } from '../model/route.js';

/** What its owner wants of the choice. */
export interface Wish {
  readonly prefer: Preference;
  /** It is to be done by then; null when there is no deadline. */
  readonly dueAt: EpochMs | null;
  readonly now: EpochMs;
}

export interface Choice {
  readonly target: PlaceName;
  readonly because: string;
}

const ROUTING = {
  /** Starts that are no further apart are equally soon. */
  equalMs: 5_000,
  /** What waits goes elsewhere to start sooner by so much at least, and by this part of what it would wait still. */
  gainMs: 30_000,
  gainShare: 0.25,
} as const;

/**
 * The target that is best. Pure.
 *
 * By time: one with room now, else the one where all of it is done soonest. By price: the cheapest of those that are done by
 * the deadline, or, without one, of those where it would start at all; if none is, as by time. Of what is equally good the
 * target that is named first.
 */
export function choose(alternatives: readonly Alternative[], wish: Wish): Choice {
  const [first] = alternatives;
  if (!first) throw new Error('nothing to choose from');
  const usable = alternatives.filter(({ isUsable }) => isUsable);
  const [soonest = first] = [...usable].sort(bySoonest(wish.now));
  if (usable.length === 0) return { target: soonest.target, because: 'none can be used now; it is the first of them' };
  if (usable.length === 1) return { target: soonest.target, because: 'the only one that can be used now' };
  if (wish.prefer === 'time') return { target: soonest.target, because: soonWords(soonest, wish.now) };
  const inTime = usable.filter((each) => isInTime(each, wish.dueAt));
  const [cheapest] = [...inTime].sort(
    (left, right) => left.pricePerHour - right.pricePerHour || bySoonest(wish.now)(left, right),
  );
  if (!cheapest)
    return { target: soonest.target, because: `none is done by the deadline; ${soonWords(soonest, wish.now)}` };
  const price = `${priceText(cheapest.pricePerHour)} an hour`;
  const because = wish.dueAt === null ? `cheapest, ${price}` : `cheapest of those done by the deadline, ${price}`;
  return { target: cheapest.target, because };
}

/** Another target than the present one, if it is better by so much that moving is worth it. */
export function chooseAgain(alternatives: readonly Alternative[], wish: Wish, present: PlaceName): Choice | undefined {
  const choice = choose(alternatives, wish);
  const [here, there] = [present, choice.target].map((name) => alternatives.find(({ target }) => target === name));
  if (choice.target === present || !there?.isUsable) return undefined;
  if (!here?.isUsable) return choice;
  const isDueHere = wish.prefer === 'time' || isInTime(here, wish.dueAt);
  if (wish.prefer === 'price' && isDueHere) return there.pricePerHour < here.pricePerHour ? choice : undefined;
  if (there.startAt === null || there.doneAt === null) return undefined;
  if (here.startAt === null || here.doneAt === null) return choice;
  const gainMs = isNow(there, wish.now) ? here.startAt - there.startAt : here.doneAt - there.doneAt;
  return gainMs >= Math.max(ROUTING.gainMs, ROUTING.gainShare * (here.startAt - wish.now)) ? choice : undefined;
}

/** Without a deadline it is enough that it starts at all. */
function isInTime({ doneAt, startAt }: Alternative, dueAt: EpochMs | null): boolean {
  return dueAt === null ? startAt !== null : doneAt !== null && doneAt <= dueAt;
}

function isNow({ startAt }: Alternative, now: EpochMs): boolean {
  return startAt !== null && startAt <= now + ROUTING.equalMs;
}

type Order = (left: Alternative, right: Alternative) => number;

/** A time that nobody knows is later than any that somebody does; what is equally soon stays in its order. */
function bySoonest(now: EpochMs): Order {
  const rankOf = (each: Alternative): number => {
    if (isNow(each, now)) return now;
    return each.doneAt === null ? Number.MAX_SAFE_INTEGER : Math.max(each.doneAt, now + ROUTING.equalMs);
  };
  return (left, right) => {
    const apart = rankOf(left) - rankOf(right);
    return Math.abs(apart) > ROUTING.equalMs ? apart : 0;
  };
}

function soonWords(soonest: Alternative, now: EpochMs): string {
  if (soonest.startAt === null) return 'nobody knows which starts sooner; it is the first of them';
  return isNow(soonest, now) ? 'it has room now' : `soonest, in ${roughDuration(soonest.startAt - now)}`;
}

export function priceText(price: number): string {
  return price === 0 ? 'nothing' : String(Number(price.toPrecision(3)));
}
