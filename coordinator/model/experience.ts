import type { EpochMs } from '../../shared/clock.js';
import type { NodeId } from '../../shared/ids.js';
import type { DemandClass } from './demand.js';

/** What the cluster has learnt of the work that it is given: how often it comes, and how long it runs. */
export interface ExperienceView {
  /** Demands that have come, the longest ago first. */
  readonly demands: Iterable<DemandClass>;
  /** How often tasks of the demand are submitted lately. */
  arrivals(demand: DemandClass, now: EpochMs): ArrivalRate;
  /** How long a task runs, by its job's name if that is known, else by its demand; undefined when nothing is. */
  runMs(demand: DemandClass, jobName: string): number | undefined;
  /** How long a task runs of whose kind none has ended yet: as others do. */
  readonly usualRunMs: number;
  /** How long tasks wait in the queue of a remote batch system; undefined when none has been through. */
  queueMs(node: NodeId): number | undefined;
}

export interface ArrivalRate {
  /** Submissions in a millisecond. */
  readonly perMs: number;
  /** Tasks in a submission. */
  readonly batch: number;
}

/** By key, the least recently touched first. */
export interface StoredExperience {
  readonly demands: readonly (readonly [demand: string, known: DemandExperience])[];
  readonly names: readonly (readonly [key: string, runMs: number])[];
  /** Of all tasks; absent when none has ended. */
  readonly usualRunMs?: number;
  /** Absent where there are no remote batch systems. */
  readonly queues?: readonly (readonly [node: string, queueMs: number])[];
}

interface DemandExperience {
  /** Submissions, each counting less by a factor of e after `memoryMs`, as of `at`. */
  readonly weight: number;
  readonly at: EpochMs;
  /** Absent in what was stored when it was the same for all. */
  readonly memoryMs?: number;
  readonly batch: number;
  readonly runMs: number | null;
}

/** Of what was stored without. */
const FORMER_MEMORY_MS = 8 * 60_000;
/** What has just come says more of itself than of what will come: so much is left out of the weight of all. */
const DOUBT = 0.3;
/** Weight of the newest observation in a mean. */
const NEWEST = 0.3;
/** The least recently touched are forgotten beyond so many. */
const MAX_DEMANDS = 500;
const MAX_NAMES = 2_000;
/** Until the first task has ended. */
const UNKNOWN_RUN_MS = 15 * 60_000;
const NEVER: ArrivalRate = { perMs: 0, batch: 1 };

interface Submission {
  /** Of its tasks. */
  readonly count: number;
  /** How long it counts. */
  readonly memoryMs: number;
  readonly at: EpochMs;
}

/** Derived from events with their times alone, so that a replay learns the same. */
export class Experience implements ExperienceView {
  readonly #demands = new Map<DemandClass, DemandExperience>();
  readonly #names = new Map<string, number>();
  readonly #queues = new Map<NodeId, number>();
  #usualRunMs: number | undefined;

  get demands(): Iterable<DemandClass> {
    return this.#demands.keys();
  }

  arrivals(demand: DemandClass, now: EpochMs): ArrivalRate {
    const known = this.#demands.get(demand);
    if (!known) return NEVER;
    return { perMs: Math.max(0, faded(known, now) - DOUBT) / memoryOf(known), batch: known.batch };
  }

  runMs(demand: DemandClass, jobName: string): number | undefined {
    return this.#names.get(nameKey(demand, jobName)) ?? this.#demands.get(demand)?.runMs ?? undefined;
  }

  get usualRunMs(): number {
    return this.#usualRunMs ?? UNKNOWN_RUN_MS;
  }

  queueMs(node: NodeId): number | undefined {
    return this.#queues.get(node);
  }

  queued(node: NodeId, waitedMs: number): void {
    this.#queues.set(node, blended(this.#queues.get(node), waitedMs));
  }

  submitted(demand: DemandClass, { count, memoryMs, at }: Submission): void {
    const known = this.#demands.get(demand);
    touch(this.#demands, demand, {
      weight: (known ? faded(known, at) : 0) + 1,
      at,
      memoryMs,
      batch: blended(known?.batch, count),
      runMs: known?.runMs ?? null,
    });
    forgetBeyond(this.#demands, MAX_DEMANDS);
  }

  ran(demand: DemandClass, jobName: string, ranMs: number): void {
    this.#usualRunMs = blended(this.#usualRunMs, ranMs);
    const known = this.#demands.get(demand);
    if (!known) return;
    this.#demands.set(demand, { ...known, runMs: blended(known.runMs ?? undefined, ranMs) });
    const key = nameKey(demand, jobName);
    touch(this.#names, key, blended(this.#names.get(key), ranMs));
    forgetBeyond(this.#names, MAX_NAMES);
  }

  stored(): StoredExperience {
    return {
      demands: [...this.#demands].map(([{ key }, known]) => [key, known]),
      names: [...this.#names],
      ...(this.#usualRunMs === undefined ? {} : { usualRunMs: this.#usualRunMs }),
      ...(this.#queues.size === 0 ? {} : { queues: [...this.#queues] }),
    };
  }

  restore({ demands, names, usualRunMs, queues = [] }: StoredExperience, demandOf: (key: string) => DemandClass): void {
    this.#usualRunMs = usualRunMs;
    for (const [key, known] of demands) this.#demands.set(demandOf(key), known);
    for (const [key, runMs] of names) this.#names.set(key, runMs);
    for (const [node, queueMs] of queues) this.#queues.set(node as NodeId, queueMs);
  }
}

function faded(known: DemandExperience, now: EpochMs): number {
  return known.weight * Math.exp(-Math.max(0, now - known.at) / memoryOf(known));
}

function memoryOf({ memoryMs }: DemandExperience): number {
  return memoryMs ?? FORMER_MEMORY_MS;
}

function blended(known: number | undefined, observed: number): number {
  return known === undefined ? observed : known + NEWEST * (observed - known);
}

function nameKey({ key }: DemandClass, jobName: string): string {
  return `${jobName}\n${key}`;
}

/** Puts the entry at the end. */
function touch<Key, Value>(map: Map<Key, Value>, key: Key, value: Value): void {
  map.delete(key);
  map.set(key, value);
}

function forgetBeyond<Key>(map: Map<Key, unknown>, limit: number): void {
  for (const key of map.keys()) {
    if (map.size <= limit) return;
    map.delete(key);
  }
}
