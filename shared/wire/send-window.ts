import { present } from '../assert.js';
import { WIRE_LIMITS } from './limits.js';

interface SentFrame {
  readonly bytes: Uint8Array;
  readonly acknowledged: (() => void) | undefined;
}

/** Frames sent and not yet acknowledged, as bytes, so that sending them again costs no encoding. */
export class SendWindow {
  readonly #frames = new Map<number, SentFrame>();
  #byteCount = 0;
  #lastSeq = 0;
  #ackedSeq = 0;

  get lastSeq(): number {
    return this.#lastSeq;
  }

  get isEmpty(): boolean {
    return this.#frames.size === 0;
  }

  get isOverfull(): boolean {
    return this.#frames.size > WIRE_LIMITS.maxUnackedFrames || this.#byteCount > WIRE_LIMITS.maxUnackedBytes;
  }

  /** Keeps the frame with the next sequence number, and calls `acknowledged` when it lets go of it. */
  add(bytes: Uint8Array, acknowledged: (() => void) | undefined): void {
    this.#lastSeq += 1;
    this.#frames.set(this.#lastSeq, { bytes, acknowledged });
    this.#byteCount += bytes.length;
  }

  /** Lets go of every frame up to `ack`; false when that says nothing new. */
  acknowledge(ack: number): boolean {
    if (ack <= this.#ackedSeq) return false;
    for (let seq = this.#ackedSeq + 1; seq <= ack; seq += 1) {
      const frame = present(this.#frames.get(seq), 'unacknowledged frame');
      this.#frames.delete(seq);
      this.#ackedSeq = seq;
      this.#byteCount -= frame.bytes.length;
      frame.acknowledged?.();
    }
    return true;
  }

  /** In sequence. */
  *unacked(): Generator<Uint8Array> {
    for (const { bytes } of this.#frames.values()) yield bytes;
  }
}
