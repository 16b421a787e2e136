import { roughDuration } from '../../../shared/units.js';
import type { PoolReport, ReceiptView, ReportedJob, ReportView, WaitView } from '../report-documents.js';
import { hours, money } from './pool.js';
import type { Column } from './table.js';
import { localTime } from './time.js';

export function reportFields(report: ReportView): readonly (readonly [string, string | null])[] {
  const { from, until, jobs, machinesSince, pools } = report;
  const since = machinesSince !== null && machinesSince > from ? machinesSince : null;
  return [
    ['From', localTime(from)],
    ['Until', localTime(until)],
    ['Jobs', jobsText(jobs)],
    ['Left out', report.jobsLeftOut ? 'older jobs: there are more than a report tells of' : null],
    ['Machines', since !== null && pools.length > 0 ? `known since ${localTime(since)} only` : null],
  ];
}

function jobsText(jobs: readonly ReportedJob[]): string {
  const finished = jobs.filter(({ outcome }) => outcome !== null);
  const failed = finished.filter(({ outcome }) => outcome === 'failed').length;
  const running = jobs.filter(({ startedAt, finishedAt }) => startedAt !== null && finishedAt === null).length;
  const waiting = jobs.length - finished.length - running;
  return `${jobs.length}: ${finished.length} finished (${failed} failed), ${running} running, ${waiting} waiting`;
}

type NamedWaits = WaitView & { readonly name: string };

export const WAIT_COLUMNS: readonly Column<NamedWaits>[] = [
  { title: 'JOBS NAMED', text: ({ name }) => name },
  { title: 'STARTED', text: ({ count }) => String(count), align: 'right' },
  { title: 'WAITED MEAN', text: ({ meanMs }) => roughDuration(meanMs), align: 'right' },
  { title: 'P50', text: ({ p50Ms }) => roughDuration(p50Ms), align: 'right' },
  { title: 'P95', text: ({ p95Ms }) => roughDuration(p95Ms), align: 'right' },
  { title: 'MAX', text: ({ maxMs }) => roughDuration(maxMs), align: 'right' },
];

export const POOL_REPORT_COLUMNS: readonly Column<PoolReport>[] = [
  { title: 'POOL', text: ({ pool }) => pool },
  { title: 'NODE-HOURS', text: ({ onMs }) => hours(onMs), align: 'right' },
  { title: 'BUSY', text: ({ busyMs, onMs }) => percent(busyMs, onMs), align: 'right' },
  { title: 'IDLE', text: ({ idleMs, onMs }) => percent(idleMs, onMs), align: 'right' },
  { title: 'BOOT', text: ({ bootMs, onMs }) => percent(bootMs, onMs), align: 'right' },
  { title: 'OFF', text: ({ offMs, onMs }) => percent(offMs, onMs), align: 'right' },
  { title: 'SUSPENDED H', text: ({ suspendedMs }) => hours(suspendedMs), align: 'right' },
  { title: 'POWER-ONS', text: ({ powerOnCount }) => String(powerOnCount), align: 'right' },
  { title: 'FAILED', text: ({ failedPowerOnCount }) => String(failedPowerOnCount), align: 'right' },
  { title: 'COST', text: ({ cost }) => (cost === null ? '-' : money(cost)), align: 'right' },
  { title: 'UNUSED', text: ({ unusedCost }) => (unusedCost === null ? '-' : money(unusedCost)), align: 'right' },
];

/** Shares of less would be of what is shown as nothing. */
const LEAST_MS = 18_000;

function percent(part: number, all: number): string {
  return all < LEAST_MS ? '-' : `${Math.round((100 * part) / all)}%`;
}

/** What a job has cost, for its description. */
export function receiptText({ receipt }: ReceiptView): string | null {
  if (receipt === null) return null;
  const { cost, servedMs, overheadMs, parkedMs, overheadCost, isFinal } = receipt;
  const parked = parkedMs > 0 ? ` and ${roughDuration(parkedMs)} of suspended` : '';
  const parts = `${roughDuration(servedMs)} of a node, and ${roughDuration(overheadMs)} of idle and boot${parked} time`;
  return `${money(cost)}${isFinal ? '' : ' so far'} (${parts} for ${money(overheadCost)})`;
}
