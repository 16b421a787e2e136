import type { Clock } from '../../shared/clock.js';

/** What waits for news looks again this often: not everything that may end its wait is told to it. */
export const RECHECK_MS = 5_000;

/** Wakes one waiter. Raised while nobody waits, it is remembered, so that no news falls between a look and a wait. */
export class Latch {
  #isRaised = false;
  #wake: (() => void) | undefined;

  raise(): void {
    this.#isRaised = true;
    this.#wake?.();
  }

  /** Resolves at the next raise, at once when one was missed. One waiter at a time. */
  async wait(): Promise<void> {
    if (!this.#isRaised) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#wake = undefined;
    this.#isRaised = false;
  }

  /** The same, and no longer than `limitMs`. */
  async waitAtMost(clock: Clock, limitMs: number): Promise<'by-raise' | 'by-time'> {
    let woken: 'by-raise' | 'by-time' = 'by-raise';
    const cancel = clock.after(limitMs, () => {
      woken = 'by-time';
      this.raise();
    });
    await this.wait();
    cancel();
    return woken;
  }
}

/** Raises the latch when the signal aborts. */
export function raiseOnAbort(latch: Latch, signal: AbortSignal): () => void {
  const raise = (): void => latch.raise();
  if (signal.aborted) raise();
  signal.addEventListener('abort', raise, { once: true });
  return () => signal.removeEventListener('abort', raise);
}
