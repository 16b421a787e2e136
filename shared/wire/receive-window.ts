/** Which frames of the peer have come, and up to which all of them have been taken over. */
export class ReceiveWindow {
  readonly #doneAhead = new Set<number>();
  #lastSeq = 0;
  #acked = 0;

  /** Every frame up to this one has been taken over. */
  get acked(): number {
    return this.#acked;
  }

  /** Frames that came and are not acknowledged. */
  get pendingCount(): number {
    return this.#lastSeq - this.#acked;
  }

  /** True for the next frame of the sequence; false for a duplicate and for one after a gap. */
  take(seq: number): boolean {
    if (seq !== this.#lastSeq + 1) return false;
    this.#lastSeq = seq;
    return true;
  }

  /** Notes that a frame has been taken over; false while an earlier one has not. */
  done(seq: number): boolean {
    this.#doneAhead.add(seq);
    const before = this.#acked;
    while (this.#doneAhead.delete(this.#acked + 1)) this.#acked += 1;
    return this.#acked > before;
  }
}
