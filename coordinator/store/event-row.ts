import { assert } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import type { BerthEvent, LoggedEvent } from '../model/events.js';

/** An event as a store keeps it: `body` is the event's JSON text. */
export interface EventRow {
  readonly seq: number;
  readonly at: EpochMs;
  readonly version: number;
  readonly body: string;
}

export function toRow({ seq, at, version, event }: LoggedEvent): EventRow {
  return { seq, at, version, body: JSON.stringify(event) };
}

export function toLoggedEvent({ seq, at, version, body }: EventRow): LoggedEvent {
  return { seq, at, version, event: JSON.parse(body) as BerthEvent };
}

/** Throws a Bug unless `events` follow a log that ends with `lastSeq` without a gap. */
export function assertContinues(lastSeq: number, events: readonly LoggedEvent[]): void {
  let expected = lastSeq;
  for (const { seq } of events) {
    expected += 1;
    assert(seq === expected, `event ${seq} was appended where ${expected} belongs`);
  }
}

/** At most this many snapshots are kept: the newest, and one more for a repair by hand. */
export const KEPT_SNAPSHOT_COUNT = 2;

/** The last event that may be forgotten: older than the newest `retainedCount`, and contained in every kept snapshot. */
export function forgettableSeq(lastSeq: number, retainedCount: number, oldestSnapshotSeq: number): number {
  return Math.min(lastSeq - retainedCount, oldestSnapshotSeq);
}
