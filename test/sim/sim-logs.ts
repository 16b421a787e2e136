import type { AllocationId } from '../../shared/ids.js';
import type { LogAck, LogChunk, LogStream } from '../../shared/wire/messages.js';

interface Stream {
  bytes: number[];
  isComplete: boolean;
}

/** The coordinator's disk for task output: bytes that were acknowledged stay, over all its lives. */
export class SimLogs {
  readonly #streams = new Map<string, Stream>();

  async write({ allocationId, stream, offset, bytes, last }: LogChunk): Promise<LogAck> {
    const key = `${allocationId} ${stream}`;
    const known = this.#streams.get(key) ?? { bytes: [], isComplete: false };
    this.#streams.set(key, known);
    if (offset <= known.bytes.length) {
      known.bytes.push(...bytes.subarray(known.bytes.length - offset));
      if (last && offset + bytes.length <= known.bytes.length) known.isComplete = true;
    }
    return { allocationId, stream, offset: known.bytes.length, complete: known.isComplete };
  }

  bytesOf(allocationId: AllocationId, stream: LogStream): readonly number[] {
    return this.#streams.get(`${allocationId} ${stream}`)?.bytes ?? [];
  }
}
