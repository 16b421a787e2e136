import type { EpochMs } from '../../../shared/clock.js';
import { slotsOnEmpty } from '../../model/feasible.js';
import type { Instance } from '../../model/instance.js';
import type { ClusterView } from '../../model/state.js';
import { expectedFor, shortageRates } from './arrivals.js';
import type { Draft } from './draft.js';
import type { Fleet } from './fleet.js';
import type { Place } from './places.js';

/**
 * What waiting is worth: a second of one task's waiting weighs as much as so many seconds of a machine that is on.
 *
 * It is the one price from which all thresholds follow.
 */
export const WAIT_WORTH = 2;

/** Moments ahead at which room is looked at. */
const SAMPLES = 16;

/** When somebody will first find no room: the density of that moment, step by step. */
interface Forecast {
  readonly stepMs: number;
  /** The chance that it falls into each step. */
  readonly chances: readonly number[];
  /** How many will be without room within the time that a machine takes to come, once one is. */
  readonly together: (leadMs: number) => number;
}

interface Question {
  readonly fleet: Fleet;
  readonly places: readonly Place[];
  readonly horizonMs: number;
  /** Room that comes up within this time is waited for. */
  readonly patienceMs: number;
}

/** Undefined when nothing is expected to come. */
export function forecast(
  view: ClusterView,
  draft: Draft,
  { fleet, places, horizonMs, patienceMs }: Question,
): Forecast | undefined {
  const { now } = draft;
  // Gangs are not foreseen: a machine for a part of one is of no use.
  const demands = [...view.index.experience.demands].filter(
    (demand) => demand.gangSize === undefined && draft.isHome(demand, fleet),
  );
  const expected = expectedFor(view, { pool: fleet.pool, demands, now });
  if (!expected) return undefined;
  const stepMs = horizonMs / SAMPLES;
  const offsets = Array.from({ length: SAMPLES }, (_, step) => (step + 0.5) * stepMs);
  const patience = Math.floor(patienceMs / stepMs);
  const moments = Array.from({ length: SAMPLES + patience }, (_, step) => now + (step + 0.5) * stepMs);
  const { free } = draft.lookAhead(places, draft.waitingBeside(expected.demand), { demand: expected.demand, moments });
  const soon = offsets.map((_, step) => Math.max(...free.slice(step, step + patience + 1)));
  const rates = shortageRates(expected, soon, offsets);
  let left = 1;
  const chances = rates.map((rate) => {
    const here = left * (1 - Math.exp(-rate * stepMs));
    left -= here;
    return here;
  });
  const meanRate = rates.reduce((sum, rate) => sum + rate, 0) / SAMPLES;
  const slots = slotsOnEmpty(expected.demand, fleet.pool.nodeClass);
  return { stepMs, chances, together: (leadMs) => Math.min(slots, 1 + meanRate * leadMs) };
}

/**
 * Is a machine more worth it before anybody waits for it?
 *
 * Whoever first is without room, after a time T, waits for the machine's lead if it is ordered then. Ordered now, it
 * saves min(T, lead) of waiting, and idles for T - lead; when nobody has come in the pool's idle time, it goes, and has been
 * on for nothing.
 */
export function isWorthAhead({ stepMs, chances, together }: Forecast, { leadMs, idleMs, offMs }: Spell): boolean {
  const worth = WAIT_WORTH * together(leadMs);
  let gain = 0;
  let wasted = 1;
  for (const [step, chance] of chances.entries()) {
    const at = (step + 0.5) * stepMs;
    if (at > leadMs + idleMs) break;
    gain += chance * (worth * Math.min(at, leadMs) - Math.max(0, at - leadMs));
    wasted -= chance;
  }
  return gain > wasted * (leadMs + idleMs + offMs);
}

/**
 * Is an idle machine worth keeping, for some time at least?
 *
 * Kept for a while, it idles until it is needed or the while is over; let go, going and coming back cost machine time, and
 * whoever needs it waits for its coming. It is kept if there is a while for which that is the better bargain.
 */
export function isWorthKeeping({ stepMs, chances, together }: Forecast, { leadMs, offMs }: Spell): boolean {
  const saved = offMs + leadMs + WAIT_WORTH * together(leadMs) * leadMs;
  let gain = 0;
  let left = 1;
  for (const [step, chance] of chances.entries()) {
    gain += chance * (saved - (step + 0.5) * stepMs);
    left -= chance;
    if (gain > left * (step + 1) * stepMs) return true;
  }
  return false;
}

/** The times of a machine's life between two uses. */
export interface Spell {
  readonly leadMs: number;
  readonly idleMs: number;
  readonly offMs: number;
}

/** How far ahead it is of interest what comes. */
export function horizonOf({ leadMs, idleMs, offMs }: Spell): number {
  return offMs + idleMs + leadMs * (1 + WAIT_WORTH);
}

/** Of a machine that is let go and comes back. */
export function spellOf({ pool }: Fleet, leadMs: number): Spell {
  return { leadMs, idleMs: pool.spec.idleMs, offMs: pool.times.offMs };
}

/** Since when its node has had nothing to do; undefined while it has. */
export function idleSince(view: ClusterView, { phase, nodeId, busyUntil }: Instance): EpochMs | undefined {
  if (view.index.usage(nodeId).live.size > 0) return undefined;
  return Math.max(phase.since, busyUntil ?? 0);
}
