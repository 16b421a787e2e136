import type { EpochMs } from '../../shared/clock.js';
import { parseDuration, shown } from '../../shared/units.js';

/** Of RFC 3339, whose zone must be given: ours and the reader's may differ. */
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/;

/** `10m` ago, or a moment; a message when it is neither. */
export function timeOf(text: string, now: EpochMs): EpochMs | string {
  const time = TIME.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(time)) return time;
  const durationMs = parseDuration(text);
  return typeof durationMs === 'number' ? now - durationMs : `${shown(text)} is neither 10m nor 2026-01-31T12:00:00Z`;
}
