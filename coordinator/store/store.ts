import type { LoggedEvent } from '../model/events.js';
import type { Departure } from '../model/past.js';
import type { Archive } from './archive.js';

/** The folded state up to and including event `seq`, as JSON text that only the model reads. */
export interface Snapshot {
  readonly seq: number;
  readonly body: string;
}

/** What a store held when it was opened: the newest snapshot and every event after it. */
export interface Recovered {
  readonly snapshot: Snapshot | null;
  /** Ascending from snapshot.seq + 1 without gaps. */
  readonly tail: readonly LoggedEvent[];
}

/**
 * Where the log lives. One owner at a time: a second process that opens the same store gets `state-dir-busy`.
 *
 * Errors: `store-unavailable` (disk full, I/O; the caller stops the process), `store-corrupt` (refused with advice;
 * never repaired silently). A torn tail, the end of an append that was never acknowledged, is dropped without error.
 */
export interface EventStore {
  /** Reads everything back. Call once, first. Throws `store-corrupt`, `state-dir-busy`, `store-unavailable`. */
  open(): Promise<Recovered>;
  /**
   * Makes the events durable, and archives what left memory with them: all or none; resolved means they survive the
   * loss of power. `events` continue the log without a gap. Calls are made one at a time. Not retried: after an error the store is closed.
   */
  append(events: readonly LoggedEvent[], departures?: readonly Departure[]): Promise<void>;
  /** Keeps `snapshot` beside the log and may then forget events older than RETAINED_EVENTS. May run during appends. */
  saveSnapshot(snapshot: Snapshot): Promise<void>;
  /**
   * Events after `afterSeq`, ascending, at most `limit`.
   * Returns null when events that follow `afterSeq` have been forgotten.
   */
  read(afterSeq: number, limit: number): Promise<readonly LoggedEvent[] | null>;
  /** Waits for what is under way and releases the store. Idempotent. */
  close(): Promise<void>;
}

/** The log with the archive of what it no longer has to tell: one owner, one transaction. */
export type Store = EventStore & Archive;

/** At least this many of the newest events stay readable for `Last-Event-ID`. */
export const RETAINED_EVENTS = 200_000;
