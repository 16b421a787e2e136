import { formatDuration, formatMiB, parseDuration, parseMiB, shown } from '../units.js';
import { type Field, invalid } from './findings.js';
import { SPEC_LIMITS } from './spec.js';

export function readMemory(field: Field): number | undefined {
  return readSize(field, 1);
}

export function readLogLimit(field: Field): number | undefined {
  return readSize(field, 1);
}

export function readDisk(field: Field): number | undefined {
  return readSize(field, 0);
}

function readSize(field: Field, minMiB: number): number | undefined {
  const mebibytes = parseMiB(field.value);
  if (typeof mebibytes === 'string') return invalid(field, mebibytes);
  if (mebibytes >= minMiB && mebibytes <= SPEC_LIMITS.maxMiB) return mebibytes;
  const range = `${formatMiB(minMiB)} to ${formatMiB(SPEC_LIMITS.maxMiB)}`;
  return invalid(field, `${shown(field.value)} is out of range; it is from ${range}`);
}

interface DurationRange {
  readonly minMs: number;
  readonly maxMs: number;
}

export function readDuration(field: Field, { minMs, maxMs }: DurationRange): number | undefined {
  const durationMs = parseDuration(field.value);
  if (typeof durationMs === 'string') return invalid(field, durationMs);
  if (durationMs >= minMs && durationMs <= maxMs) return durationMs;
  const range = `${formatDuration(minMs)} to ${formatDuration(maxMs)}`;
  return invalid(field, `${shown(field.value)} is out of range; it is from ${range}`);
}
