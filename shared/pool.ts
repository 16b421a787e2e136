import type { DriverName } from './job-spec/spec.js';
import type { GpuDevice, Resources } from './resources.js';

/** Nodes of one kind that grow and shrink together, as their operator wants them. */
export interface PoolSpec {
  readonly name: string;
  readonly provider: ProviderSpec;
  /** What one of its nodes is expected to offer; once one has joined, what that one really offered counts. */
  readonly node: NodeShape;
  /** Machines that exist at least, on or suspended. */
  readonly min: number;
  /** Machines that exist at most, on or suspended. */
  readonly max: number;
  readonly warm: WarmFloor;
  /** How long a node has nothing to do before it is switched off. */
  readonly idleMs: number;
  readonly onIdle: PowerOff;
  /** Machines that are made in quiet times and parked suspended, so that the next need resumes instead of booting. */
  readonly predeploy: number;
  /** Its nodes are given to one task at a time, which has to ask for a node to itself. */
  readonly exclusive: boolean;
  /** Pools that are tried, in this order, while this one cannot have a machine. */
  readonly fallback: readonly string[];
  readonly prices: PoolPrices;
  /** Machines that the provider is known to grant, on or suspended as the provider counts; null when nobody knows. */
  readonly quota: number | null;
  /** How long things take until the pool has learnt it from its own machines. */
  readonly times: PowerTimes;
}

/** Who makes the machines, and its own settings, which the provider itself reads. */
export interface ProviderSpec {
  readonly kind: string;
  readonly settings: Readonly<Record<string, unknown>>;
}

export interface NodeShape {
  readonly capacity: Resources;
  readonly gpus: readonly GpuDevice[];
  readonly labels: Readonly<Record<string, string>>;
  readonly attributes: Readonly<Record<string, string>>;
  readonly drivers: readonly DriverName[];
}

/** What is always ready: nodes that are on, busy or not, or room that is free for so many tasks of a kind. */
export type WarmFloor =
  | { readonly kind: 'nodes'; readonly count: number }
  | { readonly kind: 'slots'; readonly count: number; readonly of: SlotShape };

/** The task that room is kept for. */
export interface SlotShape {
  readonly resources: Resources;
  readonly gpuCount: number;
}

/** What becomes of a machine that is not needed. */
export type PowerOff = 'suspend' | 'terminate';

/** Money per hour and machine, in the operator's currency. */
export interface PoolPrices {
  readonly onPerHour: number;
  readonly suspendedPerHour: number;
}

export interface PowerTimes {
  /** From the order to the joined node. */
  readonly bootMs: number;
  readonly resumeMs: number;
  /** From the order to the end of the bill. */
  readonly offMs: number;
}

/** Label of every node of a pool: its pool's name. */
export const POOL_LABEL = 'pool';
