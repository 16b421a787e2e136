import type { WaitFigures } from '../../shared/wait-figures.js';
import { type Column, renderFields, renderTable, type TableScreen } from '../view/format/table.js';
import type { Measures } from './measure.js';

interface WaitRow extends WaitFigures {
  readonly kind: string;
  readonly count: number;
}

const WAIT_COLUMNS: readonly Column<WaitRow>[] = [
  { title: 'JOBS', text: ({ kind }) => kind },
  { title: 'COUNT', text: ({ count }) => String(count), align: 'right' },
  { title: 'WAIT MEAN', text: ({ mean }) => `${mean.toFixed(1)}s`, align: 'right' },
  { title: 'P50', text: ({ p50 }) => `${p50}s`, align: 'right' },
  { title: 'P95', text: ({ p95 }) => `${p95}s`, align: 'right' },
  { title: 'MAX', text: ({ max }) => `${max}s`, align: 'right' },
];

const POOL_COLUMNS: readonly Column<readonly [string, number]>[] = [
  { title: 'POOL', text: ([name]) => name },
  { title: 'NODE-HOURS', text: ([, hours]) => hours.toFixed(2), align: 'right' },
];

/** The measures for people. */
export function printMeasures(measures: Measures, screen: TableScreen): string {
  const { jobs, waits, nodeHours, failedPowerOns } = measures;
  const countOf = (type: string): number => jobs.filter((job) => job.type === type && job.start !== null).length;
  const rows = Object.entries(waits.byType).map(
    ([kind, waiting]): WaitRow => ({ kind, count: countOf(kind), ...waiting }),
  );
  if (waits.all) rows.push({ kind: 'all', count: jobs.filter(({ start }) => start !== null).length, ...waits.all });
  const fields = [
    ['Most waiting at once', String(measures.maxQueue)],
    ['All done after', clockText(measures.makespan)],
    ['Node-hours', nodeHours.total.toFixed(2)],
    [
      'Power-ons',
      failedPowerOns === 0 ? String(measures.powerOns) : `${measures.powerOns}, ${failedPowerOns} of them failed`,
    ],
    ['Cost', measures.cost === 0 ? null : measures.cost.toFixed(2)],
    ['Never ended', unfinishedText(measures)],
  ] as const;
  return [
    renderTable(WAIT_COLUMNS, rows, screen),
    renderTable(POOL_COLUMNS, Object.entries(nodeHours.byPool), screen),
    renderFields(fields, screen),
  ].join('\n');
}

/** How many, and why the first of those that were refused was. */
function unfinishedText({ unfinished, jobs }: Measures): string | null {
  if (unfinished === 0) return null;
  const refused = jobs.find(({ refusal }) => refusal !== undefined);
  return refused ? `${unfinished}; ${refused.id}: ${refused.refusal}` : String(unfinished);
}

/** `1:49:30`. */
function clockText(seconds: number): string {
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 60) % 60, whole % 60].map((part) => String(part).padStart(2, '0'));
  return `${Math.floor(whole / 3_600)}:${parts.join(':')}`;
}
