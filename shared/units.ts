/**
 * Quantities as people write them: `15GiB`, `1h30m`, `0.5` cpus. A bare number is refused, since its unit is a guess.
 *
 * A parser returns the number, or a message that names the value and the remedy.
 */
export const MIB = 1024 ** 2;

const BYTE_UNITS = {
  PiB: 1024 ** 5,
  TiB: 1024 ** 4,
  GiB: 1024 ** 3,
  MiB: MIB,
  KiB: 1024,
  PB: 1000 ** 5,
  TB: 1000 ** 4,
  GB: 1000 ** 3,
  MB: 1000 ** 2,
  kB: 1000,
  B: 1,
} as const;

/** Formatting never uses the decimal ones: two spellings of one size would differ as text. */
const FORMAT_BYTE_UNITS = ['PiB', 'TiB', 'GiB', 'MiB', 'KiB'] as const;

const DURATION_UNITS = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000, ms: 1 } as const;
type DurationUnit = keyof typeof DURATION_UNITS;

const SIZE = /^(\d{1,16}(?:\.\d{1,9})?)\s*([a-z]+)$/i;
const BARE_NUMBER = /^\d+(\.\d+)?$/;
const DURATION = /^(?:\d{1,16}(?:\.\d{1,9})?(?:ms|d|h|m|s)\s*)+$/;
const DURATION_PART = /(\d+(?:\.\d+)?)(ms|d|h|m|s)/g;
const CPUS = /^(\d{1,9}(?:\.\d{1,9})?)(m?)$/;

/** Bytes of `15GiB`, `512MiB`, `1.5TiB`, `20GB`; a fraction of a byte is rounded up. */
export function parseBytes(value: unknown): number | string {
  const text = textOf(value);
  if (text === undefined) return `${shown(value)} is not a size; write for example 15GiB`;
  if (BARE_NUMBER.test(text)) return `${text} has no unit; write ${text}GiB`;
  const match = SIZE.exec(text);
  const unit = match && unitNamed(match[2] ?? '');
  if (!match || !unit) return sizeMessage(text, match);
  const bytes = Math.ceil(Number(match[1]) * BYTE_UNITS[unit]);
  return Number.isSafeInteger(bytes) ? bytes : `${shown(text)} is larger than any machine`;
}

/** Whole MiB of a size, rounded up: a demand is never made smaller than it was written. */
export function parseMiB(value: unknown): number | string {
  const bytes = parseBytes(value);
  return typeof bytes === 'string' ? bytes : Math.ceil(bytes / MIB);
}

/** The size in the largest binary unit that is exact: `15GiB`, `1536MiB`, `0B`. */
export function formatBytes(bytes: number): string {
  const unit = FORMAT_BYTE_UNITS.find((name) => bytes > 0 && bytes % BYTE_UNITS[name] === 0);
  return unit ? `${bytes / BYTE_UNITS[unit]}${unit}` : `${bytes}B`;
}

export function formatMiB(mebibytes: number): string {
  return formatBytes(mebibytes * MIB);
}

/** A size for the eye, to a tenth: `45.2MiB`. */
export function roughBytes(bytes: number): string {
  const unit = FORMAT_BYTE_UNITS.find((name) => bytes >= BYTE_UNITS[name]) ?? 'B';
  return `${Number((bytes / BYTE_UNITS[unit]).toFixed(1))}${unit}`;
}

/** Milliseconds of `90s`, `4m`, `1h30m`, `2d`, `500ms`; larger units come first and each appears once. */
export function parseDuration(value: unknown): number | string {
  const text = textOf(value);
  if (text === undefined) return `${shown(value)} is not a duration; write for example 90s or 1h30m`;
  if (BARE_NUMBER.test(text)) return `${text} has no unit; write ${text}s or ${text}m`;
  if (!DURATION.test(text)) return `${shown(text)} is not a duration; write for example 90s, 4m, 1h30m or 2d`;
  let totalMs = 0;
  let smallest = Number.POSITIVE_INFINITY;
  for (const [, count, unit] of text.matchAll(DURATION_PART)) {
    const unitMs = DURATION_UNITS[unit as DurationUnit];
    if (unitMs >= smallest) return `${shown(text)} is out of order; write larger units first, as in 1h30m`;
    smallest = unitMs;
    totalMs += Number(count) * unitMs;
  }
  const wholeMs = Math.round(totalMs);
  if (Math.abs(wholeMs - totalMs) > 1e-6) return `${shown(text)} is finer than a millisecond`;
  return Number.isSafeInteger(wholeMs) ? wholeMs : `${shown(text)} is too long`;
}

/** The duration in the largest unit that is exact: `90s`, `4m`, `0s`. */
export function formatDuration(durationMs: number): string {
  for (const [unit, unitMs] of Object.entries(DURATION_UNITS)) {
    if (durationMs > 0 && durationMs % unitMs === 0) return `${durationMs / unitMs}${unit}`;
  }
  return `${durationMs}s`;
}

const ROUGH_UNITS: readonly (readonly [string, number])[] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
];

/** A duration to the two units that matter: `3d4h`, `1m12s`, `0s`. */
export function roughDuration(durationMs: number): string {
  let restMs = Math.max(0, durationMs);
  const parts: string[] = [];
  for (const [unit, unitMs] of ROUGH_UNITS) {
    const count = Math.floor(restMs / unitMs);
    restMs -= count * unitMs;
    if (count > 0) parts.push(`${count}${unit}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join('') || '0s';
}

/** Thousandths of a processor of `2`, `0.5`, `"1.5"` or `250m`. */
export function parseCpus(value: unknown): number | string {
  const text = typeof value === 'number' ? String(value) : textOf(value);
  const match = text === undefined ? null : CPUS.exec(text);
  if (!match) return `${shown(value)} is not a number of cpus; write 2, 0.5 or 250m`;
  const millis = Number(match[1]) * (match[2] === 'm' ? 1 : 1_000);
  const whole = Math.round(millis);
  if (Math.abs(whole - millis) > 1e-6)
    return `${text} is finer than a thousandth of a cpu; write 0.001 or 1m at the least`;
  return whole;
}

/** The number of cpus, as the API has it: 2, 0.5, 1.25. */
export function cpusOf(cpuMillis: number): number {
  return cpuMillis / 1_000;
}

function textOf(value: unknown): string | undefined {
  if (typeof value === 'number' && value >= 0) return String(value);
  return typeof value === 'string' ? value.trim() : undefined;
}

function unitNamed(text: string): keyof typeof BYTE_UNITS | undefined {
  const lower = text.toLowerCase();
  return (Object.keys(BYTE_UNITS) as (keyof typeof BYTE_UNITS)[]).find((name) => name.toLowerCase() === lower);
}

/** `15G` and `15Gi` mean different things to different programs, so they are refused with both readings. */
function sizeMessage(text: string, match: RegExpExecArray | null): string {
  const prefix = /^([kmgtp])i?$/i.exec(match?.[2] ?? '')?.[1]?.toUpperCase();
  if (match && prefix)
    return `${shown(text)} is ambiguous; write ${match[1]}${prefix}iB (or ${match[1]}${prefix}B for powers of ten)`;
  return `${shown(text)} is not a size; write for example 15GiB or 512MiB`;
}

const MAX_SHOWN_CHARACTERS = 60;

/** A value in a message: as JSON, and never a whole page of it. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length <= MAX_SHOWN_CHARACTERS ? text : `${text.slice(0, MAX_SHOWN_CHARACTERS)}…`;
}
