import { roughBytes, roughDuration } from '../../../shared/units.js';
import type { AttemptView } from '../api.js';
import type { Column } from './table.js';

const SECOND_MS = 1_000;

/** Where an attempt's time went, in the order of things, and what it used. */
export function usageColumns(attempts: readonly AttemptView[]): readonly Column<AttemptView>[] {
  return [
    { title: 'ATTEMPT', text: (attempt) => attempt.allocationId },
    { title: 'QUEUED', text: ({ queuedMs }) => duration(queuedMs), align: 'right' },
    { title: 'PULLED', text: ({ usage }) => duration(usage?.pulledMs), align: 'right' },
    { title: 'STAGED IN', text: ({ usage }) => duration(usage?.stagedInMs), align: 'right' },
    { title: 'STARTED', text: ({ usage }) => duration(usage?.startedMs), align: 'right' },
    { title: 'RAN', text: ({ ranMs }) => duration(ranMs), align: 'right' },
    { title: 'STAGED OUT', text: ({ usage }) => duration(usage?.stagedOutMs), align: 'right' },
    { title: 'CPU', text: ({ usage }) => duration(usage?.cpuMs), align: 'right' },
    { title: 'MEMORY', text: ({ usage }) => size(usage?.peakMemoryBytes), align: 'right' },
    { title: 'READ', text: ({ usage }) => size(usage?.readBytes), align: 'right' },
    { title: 'WRITTEN', text: ({ usage }) => size(usage?.writtenBytes), align: 'right' },
    ...(attempts.some(({ gpus }) => gpus.length > 0) ? GPU_COLUMNS : []),
  ];
}

const GPU_COLUMNS: readonly Column<AttemptView>[] = [
  { title: 'GPU MEMORY', text: ({ usage }) => size(usage?.peakGpuMemoryBytes), align: 'right' },
  { title: 'GPU BUSY', text: ({ usage }) => percent(usage?.gpuUtilizationPercent), align: 'right' },
];

function duration(durationMs: number | null | undefined): string {
  if (durationMs === null || durationMs === undefined) return '-';
  if (durationMs < SECOND_MS) return `${Math.round(durationMs)}ms`;
  if (durationMs < 10 * SECOND_MS) return `${(durationMs / SECOND_MS).toFixed(1)}s`;
  return roughDuration(durationMs);
}

function size(bytes: number | undefined): string {
  return bytes === undefined ? '-' : roughBytes(bytes);
}

function percent(value: number | undefined): string {
  return value === undefined ? '-' : `${value}%`;
}
