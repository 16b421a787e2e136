import { type Cancel, type Clock, type EpochMs, systemClock } from '../../shared/clock.js';

interface Timer {
  readonly at: EpochMs;
  readonly fire: () => void;
  isCanceled: boolean;
}

/** Time that passes as fast as the machine can think: it jumps from one timer to the next. */
export class VirtualClock implements Clock {
  readonly #start: EpochMs;
  #now: EpochMs;
  /** By time, and among equals in the order in which they were set. */
  readonly #timers: Timer[] = [];
  #soon: (() => void)[] = [];

  constructor(start: EpochMs) {
    this.#start = start;
    this.#now = start;
  }

  now(): EpochMs {
    return this.#now;
  }

  monotonic(): number {
    return this.#now - this.#start;
  }

  after(delayMs: number, fire: () => void): Cancel {
    const timer = { at: this.#now + Math.max(0, delayMs), fire, isCanceled: false };
    this.#timers.splice(this.#placeAfter(timer.at), 0, timer);
    return () => {
      timer.isCanceled = true;
    };
  }

  soon(task: () => void): void {
    this.#soon.push(task);
  }

  /** Lives until `isOver`, or until nothing is left that could happen by `until`. */
  async run(until: EpochMs, isOver: () => boolean): Promise<void> {
    await this.settle();
    while (!isOver()) {
      const timer = this.#timers[0];
      if (!timer || timer.at > until) break;
      this.#timers.shift();
      if (timer.isCanceled) continue;
      this.#now = timer.at;
      timer.fire();
      await this.settle();
    }
  }

  /** Lets everything think to its end that is under way, without time passing. */
  async settle(): Promise<void> {
    for (;;) {
      // All promises that are ready have gone on when the real loop comes round.
      await new Promise<void>((resolve) => systemClock.soon(resolve));
      const tasks = this.#soon;
      if (tasks.length === 0) return;
      this.#soon = [];
      for (const task of tasks) task();
    }
  }

  #placeAfter(at: EpochMs): number {
    let low = 0;
    let high = this.#timers.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#timers[middle]?.at ?? 0) <= at) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
