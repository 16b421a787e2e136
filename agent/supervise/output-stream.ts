import type { LogAck } from '../../shared/wire/messages.js';

/** Times kept of what is on its way, which the window of a connection keeps short; beyond it bytes count as new. */
const MAX_SEEN = 512;

/**
 * How far one stream of an attempt has been sent, and how far the coordinator has it.
 *
 * Chunks may be lost with a connection, and the coordinator takes only what continues its file; each chunk it gets, it
 * answers with where its file ends. An answer that brings nothing new while more is on its way means that a chunk did
 * not fit, so sending goes back to there, once: the answers to chunks sent before the return say the same again.
 */
export class OutputStream {
  #sent = 0;
  #acked = 0;
  #size: number | null = null;
  #hasSentLast = false;
  #isComplete = false;
  #hasGoneBack = false;
  /** When bytes up to here were first read, ascending; of what is not acknowledged. */
  #seen: { readonly to: number; readonly at: number }[] = [];

  get offset(): number {
    return this.#sent;
  }

  get ackedBytes(): number {
    return this.#acked;
  }

  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** Whether the coordinator still owes an answer. */
  get isAwaited(): boolean {
    return !this.#isComplete && (this.#acked < this.#sent || this.#hasSentLast);
  }

  /** Whether the end of the stream is still to be sent. */
  get isUnfinished(): boolean {
    return this.#size !== null && !this.#hasSentLast && !this.#isComplete;
  }

  /** The attempt has ended. The coordinator takes an empty stream for complete without a word. */
  end(size: number): void {
    this.#size = size;
    if (size === 0 && this.#sent === 0) this.#isComplete = true;
  }

  /** Whether a chunk of so many bytes, sent now, is the last. No bytes before the end: the file was cut by somebody. */
  isLast(byteCount: number): boolean {
    return this.#size !== null && (byteCount === 0 || this.#sent + byteCount >= this.#size);
  }

  /** How long ago the first of the bytes that are sent next was first read; up to `end` they have been read now. */
  ageOf(end: number, now: number): number {
    const known = this.#seen.find(({ to }) => to > this.#sent);
    const seenTo = this.#seen.at(-1)?.to ?? this.#acked;
    if (end > seenTo && this.#seen.length < MAX_SEEN) this.#seen.push({ to: end, at: now });
    return known === undefined ? 0 : now - known.at;
  }

  sent(byteCount: number, isLast: boolean): void {
    this.#sent += byteCount;
    this.#hasSentLast = isLast;
  }

  /** Sends again what has not been answered. */
  rewind(): void {
    this.#sent = this.#acked;
    this.#hasSentLast = false;
    this.#hasGoneBack = false;
  }

  acknowledge({ offset, complete }: LogAck): void {
    if (complete) this.#isComplete = true;
    const isProgress = offset > this.#acked;
    this.#acked = offset;
    this.#seen = this.#seen.filter(({ to }) => to > offset);
    if (isProgress) this.#hasGoneBack = false;
    if (offset > this.#sent) this.#sent = offset;
    if (isProgress || this.#isComplete || offset >= this.#sent || this.#hasGoneBack) return;
    this.rewind();
    this.#hasGoneBack = true;
  }
}
