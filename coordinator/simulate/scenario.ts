import type { JobSpec } from '../../shared/job-spec/spec.js';
import type { PoolSpec } from '../../shared/pool.js';

/** What is simulated: pools, what arrives when, and what goes wrong. */
export interface Scenario {
  /** The span over which node-hours are counted; null: until the last job has ended. */
  readonly windowMs: number | null;
  readonly seed: number;
  /** Run and power times vary by at most this share of themselves, evenly, by the seed. */
  readonly jitter: number;
  readonly pools: readonly PoolSpec[];
  /** In the order of their arrival. */
  readonly arrivals: readonly Arrival[];
  readonly failures: readonly PoolFailure[];
}

export interface Arrival {
  readonly id: string;
  readonly type: string;
  readonly submitMs: number;
  /** Of each of its tasks. */
  readonly runMs: number;
  readonly spec: JobSpec;
}

export const FAILURE_KINDS = ['capacity', 'no-join'] as const;

/** While it lasts, orders of the pool are refused, or its machines are made and never join. */
export interface PoolFailure {
  readonly pool: string;
  readonly kind: (typeof FAILURE_KINDS)[number];
  readonly fromMs: number;
  readonly untilMs: number;
}

export const ALLOWANCES = ['suspend', 'predeploy'] as const;

/** What pools may do beyond what the scenario says of them. */
export type Allowance = (typeof ALLOWANCES)[number];

/**
 * The pools with more means: `suspend` has idle machines of every pool suspended, `predeploy` has as many as there may
 * be made ahead and parked suspended, where that is possible.
 */
export function allowed(pools: readonly PoolSpec[], allowances: readonly Allowance[]): readonly PoolSpec[] {
  return pools.map((pool) => {
    const onIdle = allowances.includes('suspend') ? 'suspend' : pool.onIdle;
    const isParked = allowances.includes('predeploy') && onIdle === 'suspend';
    return { ...pool, onIdle, predeploy: isParked ? pool.max : pool.predeploy };
  });
}
