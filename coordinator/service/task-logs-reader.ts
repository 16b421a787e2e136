import type { Cancel } from '../../shared/clock.js';
import type { AllocationRef } from '../../shared/ids.js';
import type { LogStream } from '../../shared/wire/messages.js';

/** The output of attempts as far as it has arrived. An attempt of which nothing has arrived reads as empty. */
export interface TaskLogsReader {
  /** At most `maxBytes` from `offset`; empty at the end of what has arrived. */
  read(ref: AllocationRef, stream: LogStream, offset: number, maxBytes: number): Promise<Uint8Array>;
  /** Bytes that have arrived. */
  size(ref: AllocationRef, stream: LogStream): Promise<number>;
  /** True once the node has said that nothing more will come. */
  isComplete(ref: AllocationRef, stream: LogStream): Promise<boolean>;
  /** Calls `listener` after bytes have arrived or the stream became complete. */
  watch(ref: AllocationRef, stream: LogStream, listener: () => void): Cancel;
}

/** Read and sent as one piece: large enough to be cheap, small enough to hold one for each of many streams. */
export const LOG_CHUNK_BYTES = 64 * 1024;
