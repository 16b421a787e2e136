import { assert, present } from '../../shared/assert.js';
import type { JobId } from '../../shared/ids.js';
import type { DemandClass } from './demand.js';

/** A step with tasks to place now or after their back-off. */
export interface ReadyStep {
  readonly jobId: JobId;
  readonly step: string;
  readonly priority: number;
  readonly namespace: string;
  readonly user: string;
  readonly jobName: string;
  readonly demand: DemandClass;
  readonly sequence: number;
  /** Position of the step in its job. */
  readonly position: number;
  /** Indexes of requeued tasks; untouched ones are in the step itself. */
  readonly retries: ReadonlySet<number>;
}

/** Ready steps of one priority, namespace, user and demand: oldest first. What holds for one mostly holds for all. */
export type Lane = readonly ReadyStep[];
export type UserLanes = ReadonlyMap<DemandClass, Lane>;
export type NamespaceLanes = ReadonlyMap<string, UserLanes>;
/** By namespace, then user, then demand; nothing in it is empty. */
export type LevelLanes = ReadonlyMap<string, NamespaceLanes>;

/** What says where in the queue a step is. */
export type LanePlace = Pick<ReadyStep, 'priority' | 'namespace' | 'user' | 'demand' | 'sequence' | 'position'>;

/** The queue, divided by what decides the order of serving. Adding and removing cost O(log lane), besides the copying. */
export class Lanes<Entry extends ReadyStep> {
  readonly levels = new Map<number, Map<string, Map<string, Map<DemandClass, Entry[]>>>>();

  /** All that is in it, by lane. */
  *[Symbol.iterator](): Generator<Entry, void, undefined> {
    for (const namespaces of this.levels.values()) {
      for (const users of namespaces.values()) {
        for (const lanes of users.values()) for (const lane of lanes.values()) yield* lane;
      }
    }
  }

  find(place: LanePlace): Entry | undefined {
    const lane = this.levels.get(place.priority)?.get(place.namespace)?.get(place.user)?.get(place.demand);
    const found = lane?.[placeIn(lane, place)];
    return found && compareAge(found, place) === 0 ? found : undefined;
  }

  add(entry: Entry): void {
    const users = nested(nested(this.levels, entry.priority), entry.namespace);
    const lanes = nested(users, entry.user);
    const lane = lanes.get(entry.demand);
    if (lane) lane.splice(placeIn(lane, entry), 0, entry);
    else lanes.set(entry.demand, [entry]);
  }

  remove(entry: Entry): void {
    const namespaces = present(this.levels.get(entry.priority), 'priority of a ready step');
    const users = present(namespaces.get(entry.namespace), 'namespace of a ready step');
    const lanes = present(users.get(entry.user), 'user of a ready step');
    const lane = present(lanes.get(entry.demand), 'lane of a ready step');
    const at = placeIn(lane, entry);
    assert(lane[at] === entry, `${entry.jobId}/${entry.step} is not in its lane`);
    lane.splice(at, 1);
    if (lane.length === 0) lanes.delete(entry.demand);
    if (lanes.size === 0) users.delete(entry.user);
    if (users.size === 0) namespaces.delete(entry.namespace);
    if (namespaces.size === 0) this.levels.delete(entry.priority);
  }
}

type Age = Pick<ReadyStep, 'sequence' | 'position'>;

/** The older job first, then the earlier step. */
export function compareAge(left: Age, right: Age): number {
  return left.sequence - right.sequence || left.position - right.position;
}

function placeIn(lane: Lane, place: Age): number {
  let low = 0;
  let high = lane.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareAge(present(lane[middle], 'ready step'), place) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function nested<Key, InnerKey, Value>(outer: Map<Key, Map<InnerKey, Value>>, key: Key): Map<InnerKey, Value> {
  const known = outer.get(key);
  if (known) return known;
  const made = new Map<InnerKey, Value>();
  outer.set(key, made);
  return made;
}
