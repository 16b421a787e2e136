import type { EpochMs } from '../../shared/clock.js';
import type { DemandClass } from '../model/demand.js';
import type { ClusterView } from '../model/state.js';
import type { PlanPolicy } from '../scheduler/plan.js';
import type { ElasticPlan } from './policy/decision.js';
import { Draft } from './policy/draft.js';
import { ANSWER_MS, type Fleet, revisitMs, sourceOf } from './policy/fleet.js';
import { isAboveFloors, keepFloors } from './policy/floors.js';
import { type Ahead, lookAhead, type Place, waitingTasks } from './policy/look-ahead.js';
import { forecast, horizonOf, idleSince, isWorthAhead, isWorthKeeping, spellOf, WAIT_WORTH } from './policy/worth.js';

export interface ElasticPolicy {
  readonly planning: PlanPolicy;
}

/**
 * Whoever finds no room, but will within this part of a machine's lead, waits for it: a machine more would hardly help.
 * One that is there already helps sooner.
 */
const PATIENCE = { ordering: 0.5, keeping: 0.5 } as const;
/** The lead of a closing machine, which is back at once, in parts of a boot. */
const MIN_LEAD_SHARE = 0.02;

/**
 * Which machines to start, to take back and to let go. Pure.
 *
 * First what is to be there whatever comes (floors.ts); then machines for those who wait, where one more lets them start
 * sooner and that is worth its time (look-ahead.ts asks when they would start without it); then for those who will
 * probably come and find no room (arrivals.ts); then, in quiet times, those that are parked ahead. What has been
 * idle goes unless it will soon be missed.
 */
export function scale(view: ClusterView, policy: ElasticPolicy, now: EpochMs): ElasticPlan {
  const draft = new Draft(view, waitingTasks(view, policy.planning, now), now);
  if (draft.fleets.some(({ unansweredCount }) => unansweredCount > 0)) draft.lookAgainAt(now + ANSWER_MS);
  keepFloors(draft);
  serveWaiting(draft);
  for (const { pool } of draft.fleets) prepare(view, draft, pool.spec.name);
  for (const { pool } of draft.fleets) letGo(view, draft, pool.spec.name);
  return { decisions: draft.decisions, revisitAt: draft.revisitAt };
}

/** Orders machines for tasks that wait: one after the other, each as long as it shortens the waiting by what it costs. */
export function serveWaiting(draft: Draft): void {
  const { waiting, now } = draft;
  if (waiting.length === 0) return;
  const given = new Set<DemandClass>();
  let ahead = lookAhead(draft.places, waiting, { now });
  for (let orders = 0; orders < MAX_ORDERS; ) {
    const late = waiting.find(({ demand }, index) => !given.has(demand) && (ahead.starts[index] ?? now) > now);
    if (!late) break;
    const better = betterFleet(draft, late.demand, ahead);
    if (!better || !draft.order(better.fleet, 'demand')) {
      given.add(late.demand);
      const [home] = draft.fleetsFor(late.demand);
      if (home) draft.lookAgainAt(now + revisitMs(home));
      continue;
    }
    ahead = better.ahead;
    orders += 1;
  }
}

const MAX_ORDERS = 50;

/** The first fleet of those that may serve the demand in which a machine more is worth it. */
function betterFleet(
  draft: Draft,
  demand: DemandClass,
  before: Ahead,
): { readonly fleet: Fleet; readonly ahead: Ahead } | undefined {
  for (const fleet of draft.fleetsFor(demand)) {
    const place = draft.offer(fleet);
    if (!place) continue;
    const ahead = lookAhead([...draft.places, place], draft.waiting, { now: draft.now });
    const savedMs = ahead.starts.reduce((sum, at, index) => sum + (before.starts[index] ?? at) - at, 0);
    return savedMs * WAIT_WORTH > costOf(fleet, place, draft.now) ? { fleet, ahead } : undefined;
  }
  return undefined;
}

/** The time for which a machine more is on without being of use: coming, going, and looking whether it may go. */
function costOf({ pool }: Fleet, place: Place, now: EpochMs): number {
  const leadMs = place.readyAt - now;
  return leadMs === 0 ? 0 : leadMs + pool.spec.idleMs + pool.times.offMs;
}

/** A machine for those who will come, or one to be parked for later. */
function prepare(view: ClusterView, draft: Draft, name: string): void {
  const fleet = draft.fleet(name);
  const source = fleet && sourceOf(fleet, draft.now);
  if (!fleet || !source) return;
  const { pool } = fleet;
  const spell = spellOf(fleet, Math.max(source.leadMs, MIN_LEAD_SHARE * pool.times.bootMs));
  // Whoever finds no room before those have joined that are coming is served by them, and no sooner by another.
  const places = draft.places.map((place) => {
    return place.readyAt <= draft.now + spell.leadMs ? { ...place, readyAt: draft.now } : place;
  });
  const patienceMs = spell.leadMs * PATIENCE.ordering;
  const coming = forecast(view, draft, { fleet, places, horizonMs: horizonOf(spell), patienceMs });
  if (coming && isWorthAhead(coming, spell)) draft.order(fleet, 'demand');
  else if (coming) draft.lookAgainAt(draft.now + revisitMs(fleet));
  const isQuiet = draft.waiting.length === 0 && fleet.unansweredCount === 0;
  const after = draft.fleet(name);
  if (after && isQuiet && after.count < pool.spec.predeploy) draft.make(after, 'predeploy');
}

/** Lets machines go that have been idle for long, the longest first, unless they will be missed. */
function letGo(view: ClusterView, draft: Draft, name: string): void {
  const idle = (draft.fleet(name)?.open ?? []).flatMap((instance) => {
    const since = idleSince(view, instance);
    return since === undefined ? [] : [{ instance, since }];
  });
  idle.sort((left, right) => left.since - right.since);
  for (const { instance, since } of idle) {
    const fleet = draft.fleet(name);
    if (!fleet) return;
    const isParked = instance.why === 'predeploy' && instance.busyUntil === null && instance.powerOnCount === 1;
    const isRetired = fleet.pool.intake.kind === 'retiring';
    const dueAt = since + (isParked || isRetired ? 0 : fleet.pool.spec.idleMs);
    if (draft.now < dueAt) {
      draft.lookAgainAt(dueAt);
      continue;
    }
    const places = draft.without(instance);
    if (!isAboveFloors(fleet, places)) continue;
    const { bootMs, resumeMs } = fleet.pool.times;
    const spell = spellOf(fleet, fleet.pool.spec.onIdle === 'suspend' ? resumeMs : bootMs);
    const coming = forecast(view, draft, {
      fleet,
      places,
      horizonMs: horizonOf(spell),
      patienceMs: spell.leadMs * PATIENCE.keeping,
    });
    const isKept = coming !== undefined && isWorthKeeping(coming, spell);
    if (isKept && fleet.pool.intake.kind === 'enabled') draft.lookAgainAt(draft.now + revisitMs(fleet));
    else draft.close(fleet, instance, 'idle');
  }
}
