import type { MachineState } from '../../shared/figure/cluster-figure.js';
import type { Span } from '../../shared/figure/steps.js';
import type { PoolSpec } from '../../shared/pool.js';
import { type WaitFigures, waitFigures } from '../../shared/wait-figures.js';

/** What became of a scenario, in milliseconds from its beginning. */
export interface History {
  readonly jobs: readonly JobHistory[];
  readonly machines: readonly MachineSpan[];
  readonly orders: readonly PowerOrder[];
  /** When the last thing happened. */
  readonly endMs: number;
}

export interface JobHistory {
  readonly id: string;
  readonly type: string;
  readonly submitMs: number;
  /** Of its first task; null when it never started. */
  readonly startMs: number | null;
  /** Of its last task. */
  readonly endMs: number | null;
  /** Why it was not taken on; absent when it was. */
  readonly refusal?: string;
}

export interface MachineSpan extends Span<MachineState> {
  readonly machine: string;
  readonly pool: string;
}

/** An order to switch a machine on. */
export interface PowerOrder {
  readonly pool: string;
  readonly atMs: number;
  readonly kind: 'boot' | 'resume';
  readonly failed: boolean;
}

/** As `-o json` prints it: times in seconds. */
export interface Measures {
  readonly jobs: readonly JobFigures[];
  readonly waits: { readonly all: WaitFigures | null; readonly byType: Readonly<Record<string, WaitFigures>> };
  /** Most jobs that waited at once. */
  readonly maxQueue: number;
  /** From the beginning to the end of the last job. */
  readonly makespan: number;
  readonly nodeHours: { readonly total: number; readonly byPool: Readonly<Record<string, number>> };
  /** Orders to switch on, failed ones among them. */
  readonly powerOns: number;
  readonly failedPowerOns: number;
  readonly cost: number;
  /** Jobs that were refused, or had not ended when the simulation did. */
  readonly unfinished: number;
}

export interface JobFigures {
  readonly id: string;
  readonly type: string;
  readonly submit: number;
  readonly start: number | null;
  readonly end: number | null;
  readonly refusal?: string;
}

const HOUR_MS = 3_600_000;
/** Six significant digits behind the point are more than a simulation knows. */
const ROUNDING = 1_000_000;

/** @param windowMs  the span over which machines are counted; null: all of the history */
export function measure(history: History, pools: readonly PoolSpec[], windowMs: number | null): Measures {
  const { jobs, orders } = history;
  const untilMs = windowMs ?? history.endMs;
  const hours = new Map(pools.map(({ name }) => [name, 0]));
  let cost = 0;
  for (const span of history.machines) {
    const spent = Math.max(0, Math.min(span.untilMs, untilMs) - Math.max(0, span.fromMs)) / HOUR_MS;
    const prices = pools.find(({ name }) => name === span.pool)?.prices;
    cost += spent * ((span.state === 'suspended' ? prices?.suspendedPerHour : prices?.onPerHour) ?? 0);
    if (span.state !== 'suspended') hours.set(span.pool, (hours.get(span.pool) ?? 0) + spent);
  }
  return {
    jobs: jobs.map(figuresOfJob),
    waits: waitsOf(jobs),
    maxQueue: maxQueueOf(jobs),
    makespan: Math.max(0, ...jobs.map(({ endMs }) => endMs ?? 0)) / 1_000,
    nodeHours: {
      total: rounded([...hours.values()].reduce((sum, each) => sum + each, 0)),
      byPool: Object.fromEntries([...hours].map(([name, each]) => [name, rounded(each)])),
    },
    powerOns: orders.length,
    failedPowerOns: orders.filter(({ failed }) => failed).length,
    cost: rounded(cost),
    unfinished: jobs.filter(({ endMs }) => endMs === null).length,
  };
}

function figuresOfJob({ id, type, submitMs, startMs, endMs, refusal }: JobHistory): JobFigures {
  const times = { submit: submitMs / 1_000, start: seconds(startMs), end: seconds(endMs) };
  return { id, type, ...times, ...(refusal === undefined ? {} : { refusal }) };
}

function waitsOf(jobs: readonly JobHistory[]): Measures['waits'] {
  const byType = new Map<string, number[]>();
  const all: number[] = [];
  for (const { type, submitMs, startMs } of jobs) {
    if (startMs === null) continue;
    const wait = (startMs - submitMs) / 1_000;
    const known = byType.get(type);
    if (known) known.push(wait);
    else byType.set(type, [wait]);
    all.push(wait);
  }
  return {
    all: all.length > 0 ? figuresOf(all) : null,
    byType: Object.fromEntries([...byType].map(([type, waits]) => [type, figuresOf(waits)])),
  };
}

function figuresOf(waits: readonly number[]): WaitFigures {
  const figures = waitFigures(waits);
  return { ...figures, mean: rounded(figures.mean) };
}

function maxQueueOf(jobs: readonly JobHistory[]): number {
  const changes = jobs.flatMap(({ submitMs, startMs, refusal }) => {
    if (startMs === submitMs || refusal !== undefined) return [];
    return [{ atMs: submitMs, change: 1 }, ...(startMs === null ? [] : [{ atMs: startMs, change: -1 }])];
  });
  changes.sort((left, right) => left.atMs - right.atMs || left.change - right.change);
  let waiting = 0;
  let most = 0;
  for (const { change } of changes) {
    waiting += change;
    most = Math.max(most, waiting);
  }
  return most;
}

function seconds(atMs: number | null): number | null {
  return atMs === null ? null : atMs / 1_000;
}

function rounded(value: number): number {
  return Math.round(value * ROUNDING) / ROUNDING;
}
