import type { EpochMs } from '../../../shared/clock.js';
import { roughDuration } from '../../../shared/units.js';

/** How long ago a time of the API was; only for the eye, as two machines' clocks may differ. */
export function age(time: string | null, now: EpochMs): string {
  return time === null ? '-' : roughDuration(now - Date.parse(time));
}

/** `2026-11-30 14:03:59` in this machine's time zone. */
export function localTime(time: string | null): string {
  if (time === null) return '-';
  const at = new Date(time);
  const two = (value: number): string => String(value).padStart(2, '0');
  const date = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${date} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** `14:03` of the same day, else `2026-11-30 14:03`. */
export function shortTime(time: string, now: EpochMs): string {
  const [day = '', clock = ''] = localTime(time).slice(0, -':SS'.length).split(' ');
  return localTime(new Date(now).toISOString()).startsWith(day) ? clock : `${day} ${clock}`;
}
