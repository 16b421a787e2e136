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

/** In the operator's currency; null when the pool has no prices. */
export function costOf(
  { onPerHour, suspendedPerHour }: PoolPrices,
  { onMs, suspendedMs }: MachineTimes,
): number | null {
  if (onPerHour === 0 && suspendedPerHour === 0) return null;
  return (onMs * onPerHour + suspendedMs * suspendedPerHour) / HOUR_MS;
}
