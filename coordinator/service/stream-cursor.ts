import type { EpochMs } from '../../shared/clock.js';
import type { AllocationRef } from '../../shared/ids.js';
import type { LogStream } from '../../shared/wire/messages.js';
import { LOG_CHUNK_BYTES, type TaskLogsReader } from './task-logs-reader.js';
import { wholeCharacters } from './whole-characters.js';

/** Bytes of one stream that came at about the same time. */
export interface Piece {
  readonly stream: LogStream;
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly at: EpochMs;
}

/** One stream, read piece by piece; at most one chunk of it is held. */
export class StreamCursor {
  readonly #ref: AllocationRef;
  readonly #stream: LogStream;
  #offset: number;
  #pieces: Piece[] = [];

  constructor(ref: AllocationRef, stream: LogStream, offset: number) {
    this.#ref = ref;
    this.#stream = stream;
    this.#offset = offset;
  }

  /** The next piece, which `take` then takes; undefined when no more has come. */
  async peek(logs: TaskLogsReader): Promise<Piece | undefined> {
    if (this.#pieces.length === 0) this.#pieces = await this.#read(logs);
    return this.#pieces[0];
  }

  take(): void {
    this.#pieces.shift();
  }

  async #read(logs: TaskLogsReader): Promise<Piece[]> {
    const from = this.#offset;
    const bytes = await logs.read(this.#ref, this.#stream, from, LOG_CHUNK_BYTES);
    if (bytes.length === 0) return [];
    const whole = bytes.subarray(0, wholeCharacters(bytes));
    const end = from + whole.length;
    const marks = await logs.times(this.#ref, this.#stream, from, end);
    const pieces: Piece[] = [];
    let offset = from;
    for (const [position, { at }] of marks.entries()) {
      const upTo = Math.min(end, marks[position + 1]?.offset ?? end);
      const part = whole.subarray(offset - from, upTo - from);
      const kept = upTo === end ? part : part.subarray(0, wholeCharacters(part));
      if (kept.length === 0) continue;
      pieces.push({ stream: this.#stream, offset, bytes: kept, at });
      offset += kept.length;
    }
    this.#offset = offset;
    return pieces;
  }
}
