import { Unfit } from '../../shared/config.js';
import { NAME, type NodeId } from '../../shared/ids.js';
import { formatDuration, parseCpus, parseDuration, parseMiB } from '../../shared/units.js';
import { ISOLATIONS, type Isolation } from '../model/isolation.js';

const MAX_GPUS = 1_024;
const MAX_PROCESSES = 4_194_304;
const MAX_PERCENT = 100;
const ADDRESS = /^[A-Za-z0-9:._-]{1,253}$/;
export const GPU_PERIOD = { leastMs: 1_000, mostMs: 3_600_000, defaultMs: 30_000 };
export const GPU_TIME_LIMIT = { leastMs: 100, mostMs: 300_000, defaultMs: 20_000 };

export function parseRoots(value: string): readonly string[] | Unfit {
  const roots = value.split('\n');
  const relative = roots.find((root) => !root.startsWith('/'));
  return relative === undefined ? roots : new Unfit(`"${relative}" is not absolute; write the path from /`);
}

export function parseEndpoint(value: string): string | Unfit {
  return /^https?:\/\//.test(value) && URL.canParse(value) ? value : new Unfit(`"${value}" is not http(s)://HOST`);
}

export function parseName(value: string): NodeId | Unfit {
  return NAME.test(value) ? (value as NodeId) : new Unfit(`"${value}" is no name; use letters, digits, ".", "_", "-"`);
}

export function parseAddress(value: string): string | Unfit {
  return ADDRESS.test(value) ? value : new Unfit(`"${value}" is no host name or IP address`);
}

export function parseCpuMillis(value: string): number | Unfit {
  return fit(parseCpus(value));
}

export function parseSize(value: string): number | Unfit {
  return fit(parseMiB(value));
}

function fit(parsed: number | string): number | Unfit {
  return typeof parsed === 'string' ? new Unfit(parsed) : parsed;
}

export function parseGpuCount(value: string): number | Unfit {
  const count = Number(value);
  if (/^\d+$/.test(value) && count <= MAX_GPUS) return count;
  return new Unfit(`"${value}" is not a number of GPUs from 0 to ${MAX_GPUS}`);
}

export function parsePeriod(value: string): number | Unfit {
  return within(value, GPU_PERIOD);
}

export function parseTimeLimit(value: string): number | Unfit {
  return within(value, GPU_TIME_LIMIT);
}

function within(value: string, { leastMs, mostMs }: { readonly leastMs: number; readonly mostMs: number }) {
  const durationMs = fit(parseDuration(value));
  if (durationMs instanceof Unfit || (durationMs >= leastMs && durationMs <= mostMs)) return durationMs;
  return new Unfit(`${value} is not from ${formatDuration(leastMs)} to ${formatDuration(mostMs)}`);
}

export function parseIsolation(value: string): Isolation | Unfit {
  const known = ISOLATIONS.find((each) => each === value);
  return known ?? new Unfit(`"${value}" is none of ${ISOLATIONS.join(', ')}`);
}

export function parseLines(value: string): readonly string[] {
  return value.split('\n');
}

export function parseProcesses(value: string): number | Unfit {
  const count = Number(value);
  if (/^[1-9]\d*$/.test(value) && count <= MAX_PROCESSES) return count;
  return new Unfit(`"${value}" is not a number of processes from 1 to ${MAX_PROCESSES}`);
}

export function parsePercent(value: string): number | Unfit {
  const percent = Number(value);
  const isPercent = /^\d+$/.test(value) && percent <= MAX_PERCENT;
  return isPercent ? percent : new Unfit(`"${value}" is no percentage; write for example 85`);
}

export function parseLabels(value: string): Readonly<Record<string, string>> | Unfit {
  const labels: Record<string, string> = {};
  for (const line of value.split('\n')) {
    const match = /^([^=]+)=(.*)$/.exec(line);
    if (!match || !NAME.test(match[1] ?? '')) return new Unfit(`"${line}" is not KEY=VALUE; write for example zone=eu`);
    labels[match[1] ?? ''] = match[2] ?? '';
  }
  return labels;
}
