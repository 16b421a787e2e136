import type { EpochMs } from '../../shared/clock.js';
import type { DemandClass } from '../model/demand.js';
import { meetingOf } from '../model/feasible.js';
import type { ClusterView } from '../model/state.js';
import { togetherOf } from '../scheduler/outlook.js';
import type { PlanPolicy } from '../scheduler/plan.js';
import type { ElasticPlan } from './policy/decision.js';
import { Draft, type Machines } from './policy/draft.js';
import { ANSWER_MS, type Fleet, revisitMs, sourceOf } from './policy/fleet.js';
import { isAboveFloors, keepFloors } from './policy/floors.js';
import type { Ahead } from './policy/look-ahead.js';
import type { Part } from './policy/parts.js';
import { type Place, type Waiting, waitingTasks } from './policy/places.js';
import { forecast, horizonOf, idleSince, isWorthAhead, isWorthKeeping, spellOf, WAIT_WORTH } from './policy/worth.js';

/**
 * So many places, ends of tasks and waiting tasks are looked at for those who wait, and as many for those who will come;
 * what is left is decided the next time.
 */
const EFFORT = 100_000;
/** Of one pool in one decision, so that every pool gets its turn. */
const MAX_CLOSED = 5;

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
  draft.allowEffort(EFFORT);
  for (const { pool } of draft.fleets) prepare(view, draft, pool.spec.name);
  for (const { pool } of draft.fleets) letGo(view, draft, pool.spec.name);
  return { decisions: draft.decisions, revisitAt: draft.revisitAt };
}

/** Orders machines for tasks that wait: one after the other, each as long as it shortens the waiting by what it costs. */
export function serveWaiting(draft: Draft): void {
  if (draft.waiting.length === 0) return;
  draft.allowEffort(EFFORT);
  for (const part of draft.parts) servePart(draft, part);
}

function servePart(draft: Draft, { waiting, classes }: Part): void {
  const { now } = draft;
  const given = new Set<DemandClass>();
  const refused = new Set<string>();
  let places: readonly Place[] = draft.places.filter(({ room }) => classes.has(room.node.nodeClass));
  let ahead = draft.lookAhead(places, waiting);
  while (!draft.isSpent) {
    const late = waiting.findIndex(({ demand }, index) => !given.has(demand) && (ahead.starts[index] ?? now) > now);
    const demand = waiting[late]?.demand;
    if (!demand) return;
    const better = betterOrder(draft, { places, waiting, late, demand, before: ahead, refused });
    if (better) {
      draft.orderAll(better.fleet, better.machines, 'demand');
      ({ places, ahead } = better);
      refused.clear();
      continue;
    }
    given.add(demand);
    const [home] = draft.fleetsFor(demand);
    if (home) draft.lookAgainAt(now + revisitMs(home));
  }
}

interface Late {
  readonly places: readonly Place[];
  readonly waiting: readonly Waiting[];
  /** Whose start is to be sooner, among them, and its demand. */
  readonly late: number;
  readonly demand: DemandClass;
  readonly before: Ahead;
  /** Pools of which one machine more is known not to be worth it, for whomever. */
  readonly refused: Set<string>;
}

interface Order {
  readonly fleet: Fleet;
  readonly machines: Machines;
  /** What comes of it. */
  readonly places: readonly Place[];
  readonly ahead: Ahead;
}

/** Of the fleets that may serve the demand the first that can help: by a machine more, or by as many as a gang lacks. */
function betterOrder(draft: Draft, task: Late): Order | undefined {
  for (const fleet of draft.fleetsFor(task.demand)) {
    const { name } = fleet.pool.spec;
    const isGang = task.demand.gangSize !== undefined;
    if (!isGang && task.refused.has(name)) return undefined;
    const order = isGang ? orderForGang(draft, fleet, task) : orderOfOne(draft, fleet, task);
    if (!order) continue;
    if (isWorth(draft, order, task)) return order;
    if (!isGang) task.refused.add(name);
    return undefined;
  }
  return undefined;
}

function orderOfOne(draft: Draft, fleet: Fleet, { places: before, waiting }: Late): Order | undefined {
  const machines = { most: 1 };
  const [offer] = draft.offers(fleet, machines);
  if (!offer) return undefined;
  const places = [...before, offer.place];
  return { fleet, machines, places, ahead: draft.lookAhead(places, waiting) };
}

/**
 * The fewest machines with which all ranks start as soon as the pool can make it; undefined when even all that it can have
 * are too few. Those that would wait for what still runs elsewhere, for longer than they take to come, are ordered later.
 */
function orderForGang(draft: Draft, fleet: Fleet, task: Late): Order | undefined {
  const { waiting, late, demand, before } = task;
  const perNode = meetingOf(demand, fleet.pool.nodeClass).slots;
  // They are of use together or not at all, so whether there are more is not felt out one by one.
  const atOnce = Number.POSITIVE_INFINITY;
  const offered = draft.offers(fleet, { most: Math.ceil(togetherOf(demand) / perNode), atOnce });
  const placesWith = (count: number): readonly Place[] => {
    return [...task.places, ...offered.slice(0, count).map(({ place }) => place)];
  };
  let least = offered.length;
  let ahead = draft.lookAhead(placesWith(least), waiting);
  const soonestAt = ahead.starts[late] ?? 0;
  if (soonestAt >= (before.starts[late] ?? 0)) return undefined;
  for (let tooFew = 0; tooFew + 1 < least; ) {
    const middle = (tooFew + least) >> 1;
    const found = draft.lookAhead(placesWith(middle), waiting);
    if ((found.starts[late] ?? 0) <= soonestAt) [least, ahead] = [middle, found];
    else tooFew = middle;
  }
  const leadMs = Math.max(...offered.slice(0, least).map(({ place }) => place.readyAt)) - draft.now;
  const earlyMs = soonestAt - draft.now - 2 * leadMs;
  if (earlyMs > 0) {
    draft.lookAgainAt(draft.now + earlyMs);
    return undefined;
  }
  return { fleet, machines: { most: least, atOnce }, places: placesWith(least), ahead };
}

/** Is the waiting that the order saves worth the time for which its machines are on without being of use? */
function isWorth(draft: Draft, { fleet, machines, ahead }: Order, { waiting, before }: Late): boolean {
  let savedMs = 0;
  for (const [index, at] of ahead.starts.entries()) {
    const ranks = waiting[index]?.demand.gangSize ?? 1;
    savedMs += ranks * ((before.starts[index] ?? at) - at);
  }
  const costMs = draft.offers(fleet, machines).reduce((sum, { place }) => sum + costOf(fleet, place, draft.now), 0);
  return savedMs * WAIT_WORTH > costMs;
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
  if (draft.isSpent) return;
  // Whoever finds no room before those have joined that are coming is served by them, and no sooner by another.
  const { now } = draft;
  const places = draft.places.map((place) => {
    return place.readyAt > now && place.readyAt <= now + spell.leadMs ? { ...place, readyAt: now } : place;
  });
  const patienceMs = spell.leadMs * PATIENCE.ordering;
  const coming = forecast(view, draft, { fleet, places, horizonMs: horizonOf(spell), patienceMs });
  if (coming && isWorthAhead(coming, spell)) draft.order(fleet, 'demand');
  else if (coming) draft.lookAgainAt(draft.now + revisitMs(fleet));
  const isQuiet = draft.waiting.length === 0 && fleet.unansweredCount === 0;
  const after = draft.fleet(name);
  if (after && isQuiet && after.count < pool.spec.predeploy) draft.make(after, 'predeploy');
}

/**
 * Lets machines go that have been idle for long, the longest first, unless they will be missed. What keeps one that is
 * due keeps the others of its pool too.
 */
function letGo(view: ClusterView, draft: Draft, name: string): void {
  const idle = (draft.fleet(name)?.open ?? []).flatMap((instance) => {
    const since = idleSince(view, instance);
    return since === undefined ? [] : [{ instance, since }];
  });
  idle.sort((left, right) => left.since - right.since);
  let closedCount = 0;
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
    if (closedCount >= MAX_CLOSED) draft.lookAgainAt(draft.now);
    if (closedCount >= MAX_CLOSED || draft.isSpent) return;
    const places = draft.without(instance);
    if (!isAboveFloors(fleet, places) || isAwaitedByGang(draft, fleet, places)) return;
    const { bootMs, resumeMs } = fleet.pool.times;
    const spell = spellOf(fleet, fleet.pool.spec.onIdle === 'suspend' ? resumeMs : bootMs);
    const coming = forecast(view, draft, {
      fleet,
      places,
      horizonMs: horizonOf(spell),
      patienceMs: spell.leadMs * PATIENCE.keeping,
    });
    const isKept = coming !== undefined && isWorthKeeping(coming, spell);
    if (isKept && fleet.pool.intake.kind === 'enabled') {
      draft.lookAgainAt(draft.now + revisitMs(fleet));
      return;
    }
    draft.close(fleet, instance, 'idle');
    closedCount += 1;
  }
}

/** Would a gang that waits for more than this machine start later without it? Then it is asked again with the next event. */
function isAwaitedByGang(draft: Draft, { pool }: Fleet, without: readonly Place[]): boolean {
  const part = draft.parts.find(({ classes }) => classes.has(pool.nodeClass));
  if (!part?.waiting.some(({ demand }) => demand.gangSize !== undefined)) return false;
  const { starts } = draft.lookAhead(draft.places, part.waiting);
  return draft.lookAhead(without, part.waiting).starts.some((at, index) => at > (starts[index] ?? at));
}
