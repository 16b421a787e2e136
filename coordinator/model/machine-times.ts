import type { EpochMs } from '../../shared/clock.js';
import type { PoolPrices } from '../../shared/pool.js';
import { type Instance, isOn } from './instance.js';
import type { Pool, PoolTotals } from './pool.js';

/** How long a machine has been paid for as on, and parked, up to now. */
export function machineTimes({ phase, onMs, suspendedMs }: Instance, now: EpochMs): MachineTimes {
  const spentMs = Math.max(0, now - phase.since);
  return isOn(phase) ? { onMs: onMs + spentMs, suspendedMs } : { onMs, suspendedMs: suspendedMs + spentMs };
}

export type MachineTimes = Pick<Instance, 'onMs' | 'suspendedMs'>;

/** What all machines of a pool have added up to, those that exist included. */
export function poolTimes({ totals }: Pool, machines: readonly Instance[], now: EpochMs): PoolTotals {
  let { onMs, suspendedMs, powerOnCount } = totals;
  for (const machine of machines) {
    const times = machineTimes(machine, now);
    onMs += times.onMs;
    suspendedMs += times.suspendedMs;
    powerOnCount += machine.powerOnCount;
  }
  return { ...totals, onMs, suspendedMs, powerOnCount };
}

const HOUR_MS = 3_600_000;

/** In the operator's currency. */
export function costOf({ onPerHour, suspendedPerHour }: PoolPrices, { onMs, suspendedMs }: MachineTimes): number {
  return (onMs * onPerHour + suspendedMs * suspendedPerHour) / HOUR_MS;
}

export function isFree({ onPerHour, suspendedPerHour }: PoolPrices): boolean {
  return onPerHour === 0 && suspendedPerHour === 0;
}

/** What all machines of a pool have cost, each hour at its price; null when it has no prices, and never had. */
export function poolCost(pool: Pool, machines: readonly Instance[], now: EpochMs): number | null {
  const { spec, totals } = pool;
  const known = totals.cost ?? 0;
  if (known === 0 && isFree(spec.prices)) return null;
  return machines.reduce((sum, machine) => sum + costOf(spec.prices, machineTimes(machine, now)), known);
}
