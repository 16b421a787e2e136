import type { Cancel, EpochMs } from '../../shared/clock.js';
import type { AllocationRef } from '../../shared/ids.js';
import type { LogStream } from '../../shared/wire/messages.js';

/** From `offset` on, bytes came at `at` or a little later; the next mark says when that ends. */
export interface TimeMark {
  readonly offset: number;
  readonly at: EpochMs;
}

/** The output of attempts as far as it has arrived. An attempt of which nothing has arrived reads as empty. */
export interface TaskLogsReader {
  /** At most `maxBytes` from `offset`; empty at the end of what has arrived. */
  read(ref: AllocationRef, stream: LogStream, offset: number, maxBytes: number): Promise<Uint8Array>;
  /** Bytes that have arrived. */
  size(ref: AllocationRef, stream: LogStream): Promise<number>;
  /** When the bytes from `from` to `to` came: marks, the first at or before `from`; empty when nothing has come. */
  times(ref: AllocationRef, stream: LogStream, from: number, to: number): Promise<readonly TimeMark[]>;
  /** The first byte that came at `at` or later; where the next one will be, when there is none. */
  offsetSince(ref: AllocationRef, stream: LogStream, at: EpochMs): Promise<number>;
  /** True once the node has said that nothing more will come. */
  isComplete(ref: AllocationRef, stream: LogStream): Promise<boolean>;
  /** Calls `listener` after bytes have arrived or the stream became complete. */
  watch(ref: AllocationRef, stream: LogStream, listener: () => void): Cancel;
}

/** Read and sent as one piece: large enough to be cheap, small enough to hold one for each of many streams. */
export const LOG_CHUNK_BYTES = 64 * 1024;
