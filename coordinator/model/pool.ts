import type { EpochMs } from '../../shared/clock.js';
import type { PoolSpec, PowerTimes } from '../../shared/pool.js';
import type { NodeClass } from './node.js';

/** `definedBy` of the pools that the coordinator's configuration has. */
export const CONFIGURED = 'configuration';

/** A pool as the coordinator knows it: what its operator wants, and what has been learnt of its machines. */
export interface Pool {
  readonly spec: PoolSpec;
  readonly definedBy: string;
  readonly intake: PoolIntake;
  /** Machines that are to be on at least, by an explicit request; null when nobody asked. */
  readonly requested: number | null;
  /** Why no machine is ordered for a while; null when one may be. */
  readonly cooling: Cooling | null;
  readonly times: PowerTimes;
  /** What one of its nodes offers, as far as feasibility reads it: the latest that joined, else as specified. */
  readonly nodeClass: NodeClass;
  readonly totals: PoolTotals;
}

export type PoolIntake =
  | { readonly kind: 'enabled' }
  /** No machine is started; those that are on work on, and go when they have nothing to do. */
  | { readonly kind: 'disabled'; readonly since: EpochMs; readonly reason: string }
  /** As disabled, and its machines are terminated; it goes with the last of them. */
  | { readonly kind: 'retiring'; readonly since: EpochMs; readonly reason: string }
  /** Its nodes take nothing new, and no machine is started. */
  | { readonly kind: 'cordoned'; readonly since: EpochMs; readonly reason: string };

/** After a failed order: the next one is given at `until`, later after each failure in a row. */
export interface Cooling {
  readonly since: EpochMs;
  readonly until: EpochMs;
  readonly failureCount: number;
  readonly fault: InstanceFault;
  readonly message: string;
}

/** Why an order failed for good; `timeout`: the machine did not join in time. */
export type InstanceFault = 'quota' | 'capacity' | 'credentials' | 'configuration' | 'not-found' | 'timeout';

/** Of machines that are gone; those that exist tell their own. */
export interface PoolTotals {
  readonly onMs: number;
  readonly suspendedMs: number;
  readonly powerOnCount: number;
  readonly failedPowerOnCount: number;
  /**
   * Of machines that are gone; and, where prices have changed, what those that exist have cost more than they would have
   * at the prices of now. Absent for 0.
   */
  readonly cost?: number;
}

export const NO_TOTALS: PoolTotals = { onMs: 0, suspendedMs: 0, powerOnCount: 0, failedPowerOnCount: 0 };

/** Pauses after a failed order: what passes by itself is tried again sooner than what a person has to mend. */
const PASSING = { firstMs: 60_000, maxMs: 30 * 60_000 } as const;
const LASTING = { firstMs: 5 * 60_000, maxMs: 60 * 60_000 } as const;
const MAX_DOUBLINGS = 10;

/** The cooling after one more failure. Without chance: a replay must find the same. */
export function cooled(pool: Pool, failure: Pick<Cooling, 'fault' | 'message'>, at: EpochMs): Cooling {
  const failureCount = (pool.cooling?.failureCount ?? 0) + 1;
  const { firstMs, maxMs } = isLasting(failure.fault) ? LASTING : PASSING;
  const pauseMs = Math.min(maxMs, firstMs * 2 ** Math.min(failureCount - 1, MAX_DOUBLINGS));
  return { ...failure, failureCount, since: at, until: at + pauseMs };
}

/** Does it not pass by itself? */
export function isLasting(fault: InstanceFault): boolean {
  return fault !== 'quota' && fault !== 'capacity';
}

/** Weight of the newest observation in what is learnt. */
const NEWEST = 0.3;

/** What is expected next time, after one more observation. */
export function learnt(expectedMs: number, observedMs: number): number {
  return Math.round(expectedMs + NEWEST * (observedMs - expectedMs));
}
