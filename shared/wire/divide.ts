import { WIRE_LIMITS } from './limits.js';
import type { Body } from './messages.js';

/**
 * A body that is too long for one frame as several that follow each other; itself alone when it cannot be divided.
 *
 * A sync gives up only its start orders: whatever the agent holds must be named in the sync itself.
 *
 * @param byteCount  size of the whole body's frame, more than `splitFrameBytes`
 */
export function divide(body: Body, byteCount: number): readonly Body[] {
  const partCount = Math.ceil(byteCount / WIRE_LIMITS.splitFrameBytes);
  switch (body.kind) {
    case 'sync':
      if (body.sync.start.length === 0) return [body];
      return [
        { kind: 'sync', sync: { ...body.sync, start: [] } },
        ...slices(body.sync.start, partCount).map((start): Body => ({ kind: 'orders', orders: { start, stop: [] } })),
      ];
    case 'orders': {
      const { start, stop } = body.orders;
      if (start.length + stop.length <= 1) return [body];
      return [
        ...slices(start, partCount).map((part): Body => ({ kind: 'orders', orders: { start: part, stop: [] } })),
        ...slices(stop, partCount).map((part): Body => ({ kind: 'orders', orders: { start: [], stop: part } })),
      ];
    }
    case 'reports':
      return slices(body.reports, partCount).map((reports): Body => ({ kind: 'reports', reports }));
    default:
      return [body];
  }
}

function slices<T>(list: readonly T[], partCount: number): T[][] {
  const length = Math.max(1, Math.floor(list.length / partCount));
  const parts: T[][] = [];
  for (let from = 0; from < list.length; from += length) parts.push(list.slice(from, from + length));
  return parts;
}
