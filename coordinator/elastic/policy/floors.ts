import type { SlotShape } from '../../../shared/pool.js';
import { slotsOf } from '../../../shared/pool-spec/contradictions.js';
import { WHOLE_GPU_MILLIS } from '../../../shared/resources.js';
import type { Draft } from './draft.js';
import type { Fleet } from './fleet.js';
import type { Place } from './places.js';

/** Orders what is to be there whatever comes: machines, machines that are on, room. */
export function keepFloors(draft: Draft): void {
  for (const { pool } of draft.fleets) {
    const { name } = pool.spec;
    for (let fleet = draft.fleet(name); fleet && isBelowRequest(fleet); fleet = draft.fleet(name)) {
      // What a person has asked for is not felt out one by one.
      if (!draft.order({ ...fleet, unansweredCount: 0 }, 'request')) break;
    }
    for (let fleet = draft.fleet(name); fleet && isBelowWarm(draft.places, fleet); fleet = draft.fleet(name)) {
      if (!draft.order(fleet, 'warm')) break;
    }
    for (let fleet = draft.fleet(name); fleet && fleet.count < pool.spec.min; fleet = draft.fleet(name)) {
      if (!draft.make(fleet, 'minimum')) break;
    }
  }
}

/** May one of its open machines be let go, as far as the floors are concerned? */
export function isAboveFloors(fleet: Fleet, placesWithout: readonly Place[]): boolean {
  const { spec, intake, requested } = fleet.pool;
  if (intake.kind !== 'enabled') return true;
  // Those that are coming stand for nothing yet.
  const openCount = fleet.open.length;
  if (openCount <= (requested ?? 0)) return false;
  if (spec.onIdle === 'terminate' && fleet.count <= spec.min) return false;
  const { warm } = spec;
  if (warm.kind === 'nodes') return openCount > warm.count;
  return freeSlots(fleet, placesWithout, warm.of) >= warm.count;
}

function isBelowRequest(fleet: Fleet): boolean {
  return onCount(fleet) < (fleet.pool.requested ?? 0);
}

function isBelowWarm(places: readonly Place[], fleet: Fleet): boolean {
  const { warm } = fleet.pool.spec;
  if (warm.kind === 'nodes') return onCount(fleet) < warm.count;
  return freeSlots(fleet, places, warm.of) < warm.count;
}

function onCount({ open, coming, orderedCount }: Fleet): number {
  return open.length + coming.length + orderedCount;
}

/** Room for such tasks on the pool's machines, those that are coming included. */
function freeSlots({ pool }: Fleet, places: readonly Place[], shape: SlotShape): number {
  const own = places.filter(({ pool: name }) => name === pool.spec.name);
  let count = 0;
  for (const { room } of own) {
    if (pool.spec.exclusive && room.free.cpuMillis < pool.nodeClass.capacity.cpuMillis) continue;
    const gpuCount = room.gpuMillis.filter((millis) => millis >= WHOLE_GPU_MILLIS).length;
    const slots = slotsOf({ capacity: room.free, gpuCount }, shape);
    count += pool.spec.exclusive ? Math.min(1, slots) : slots;
  }
  return count;
}
