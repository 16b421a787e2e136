import { roughDuration } from '../../../shared/units.js';
import type { Alternative, Route } from '../api.js';
import { localTime } from './time.js';

/** A line for each target: when, at what price, and what that rests on. The one that was taken is marked. */
export function alternativeLines(
  alternatives: readonly Alternative[],
  { chosen, at }: { readonly chosen: string | undefined; readonly at: string },
): string {
  const names = Math.max(0, ...alternatives.map(({ target }) => target.length));
  return alternatives
    .map(({ target, startAt, pricePerHour, ground }) => {
      const mark = target === chosen ? '*' : ' ';
      const inMs = startAt === null ? undefined : Date.parse(startAt) - Date.parse(at);
      const start = inMs === undefined ? '-' : inMs <= 0 ? 'now' : roughDuration(inMs);
      const price = pricePerHour === 0 ? '' : `, ${Number(pricePerHour.toPrecision(3))} an hour`;
      return ` ${mark} ${target.padEnd(names)}  ${start.padEnd(START_WIDTH)}  ${ground}${price}\n`;
    })
    .join('');
}

const START_WIDTH = '23h59m'.length;

/** Which target each step with several goes to, and what was expected of all when that was decided. */
export function routeLines(routes: readonly Route[]): string {
  return routes
    .map(({ step, target, because, at, alternatives }) => {
      const lines = alternativeLines(alternatives, { chosen: target, at });
      return `\n${step} goes to ${target}: ${because}. At ${localTime(at)}:\n${lines}`;
    })
    .join('');
}
