import type { EpochMs } from '../../../shared/clock.js';
import { roughDuration } from '../../../shared/units.js';
import type { MachineView, PoolSettings, PoolView } from '../pool-documents.js';
import type { Column } from './table.js';
import { age, localTime } from './time.js';

export const POOL_COLUMNS: readonly Column<PoolView>[] = [
  { title: 'POOL', text: ({ name }) => name },
  { title: 'PROVIDER', text: ({ provider }) => provider },
  {
    title: 'STATE',
    text: ({ state }) => state,
    paint: (text, { state }, colors) => (state === 'enabled' ? colors.green(text) : colors.yellow(text)),
  },
  { title: 'ON', text: ({ counts }) => String(counts.on), align: 'right' },
  { title: 'SUSPENDED', text: ({ counts }) => String(counts.suspended), align: 'right' },
  { title: 'STARTING', text: ({ counts }) => String(counts.starting), align: 'right' },
  { title: 'STOPPING', text: ({ counts }) => String(counts.stopping), align: 'right', isWide: true },
  { title: 'MAX', text: ({ spec }) => String(spec.max), align: 'right' },
  { title: 'WARM', text: ({ spec }) => warmText(spec.warm), align: 'right' },
  { title: 'COST/H', text: costPerHour, align: 'right' },
  { title: 'COST', text: ({ cost }) => (cost === null ? '-' : money(cost)), align: 'right', isWide: true },
  { title: 'TROUBLE', text: (pool) => troubleText(pool) ?? '-' },
];

export function machineColumns(now: EpochMs): readonly Column<MachineView>[] {
  return [
    { title: 'MACHINE', text: ({ id }) => id },
    { title: 'NODE', text: ({ node }) => node },
    { title: 'PHASE', text: ({ phase, to }) => (to === null ? phase : `${phase} (${to})`) },
    { title: 'SINCE', text: ({ since }) => age(since, now), align: 'right' },
    { title: 'ON', text: ({ onMs }) => roughDuration(onMs), align: 'right' },
    { title: 'SUSPENDED', text: ({ suspendedMs }) => roughDuration(suspendedMs), align: 'right' },
    { title: 'MADE FOR', text: ({ why }) => why },
    { title: 'REF', text: ({ ref }) => ref ?? '-', isWide: true },
    { title: 'REASON', text: ({ reason }) => reason ?? '-' },
  ];
}

/** Of machines that are no node yet. */
export function comingColumns(now: EpochMs): readonly Column<MachineView>[] {
  return [
    { title: 'NAME', text: ({ node }) => node },
    { title: 'POOL', text: ({ pool }) => pool },
    { title: 'STATE', text: ({ phase }) => phase },
    { title: 'SINCE', text: ({ since }) => age(since, now), align: 'right' },
    { title: 'REASON', text: ({ reason }) => reason ?? '-' },
  ];
}

export function poolFields(pool: PoolView): readonly (readonly [string, string | null])[] {
  const { spec, times, totals, counts, cost, requested, since } = pool;
  return [
    ['Pool', pool.name],
    ['Provider', pool.provider],
    ['Defined by', pool.definedBy],
    ['State', since === null ? pool.state : `${pool.state} since ${localTime(since)}`],
    ['Reason', pool.reason],
    ['Trouble', troubleText(pool) ?? null],
    ['Machines', `${spec.min} to ${spec.max}, ${warmText(spec.warm)} warm, ${spec.onIdle} after ${spec.idle} idle`],
    ['Asked for', requested === null ? null : `${requested} on at least`],
    ['Now', `${counts.on} on, ${counts.starting} starting, ${counts.stopping} stopping, ${counts.suspended} suspended`],
    ['Fallback', spec.fallback.join(', ')],
    ['Usually', `boots in ${roughDuration(times.bootMs)}, resumes in ${roughDuration(times.resumeMs)}`],
    ['Power-ons', `${totals.powerOnCount}, ${totals.failedPowerOnCount} failed`],
    ['Node-hours', `${hours(totals.onMs)} on, ${hours(totals.suspendedMs)} suspended`],
    ['Cost', cost === null ? null : `${money(cost)} so far, ${costPerHour(pool)} an hour now`],
  ];
}

function troubleText({ trouble, cooling, reason, state }: PoolView): string | undefined {
  if (cooling !== null) return `${cooling.fault} until ${localTime(cooling.until)}: ${cooling.message}`;
  return trouble ?? (state === 'enabled' ? undefined : (reason ?? undefined));
}

function warmText(warm: PoolSettings['warm']): string {
  return typeof warm === 'number' ? String(warm) : `${warm.slots} slots`;
}

/** Of the machines that there are now. */
function costPerHour({ cost, counts, spec: { prices } }: PoolView): string {
  if (cost === null) return '-';
  const onCount = counts.on + counts.starting + counts.stopping;
  return money(onCount * prices.onPerHour + counts.suspended * prices.suspendedPerHour);
}

export function money(amount: number): string {
  return amount.toFixed(amount > 0 && amount < 1 ? 4 : 2);
}

export function hours(durationMs: number): string {
  return (durationMs / 3_600_000).toFixed(2);
}
