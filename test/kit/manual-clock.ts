import type { Cancel, Clock, EpochMs } from '../../shared/clock.js';

interface Timer {
  readonly at: EpochMs;
  readonly order: number;
  readonly fire: () => void;
}

/** A clock that moves when told to. `soon` tasks wait for the next `settle` or `advance`. */
export class ManualClock implements Clock {
  #now: EpochMs;
  readonly #start: EpochMs;
  #order = 0;
  #timers = new Set<Timer>();
  #soon: (() => void)[] = [];

  constructor(start: EpochMs = Date.parse('2026-01-01T00:00:00Z')) {
    this.#now = start;
    this.#start = start;
  }

  now(): EpochMs {
    return this.#now;
  }

  monotonic(): number {
    return this.#now - this.#start;
  }

  after(delayMs: number, fire: () => void): Cancel {
    const timer = { at: this.#now + Math.max(0, delayMs), order: this.#order++, fire };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  soon(task: () => void): void {
    this.#soon.push(task);
  }

  /** When the next timer fires; undefined when none is set. */
  nextAt(): EpochMs | undefined {
    return this.#next()?.at;
  }

  /** Runs what is due without moving time, and the microtasks in between, until nothing is left. */
  async settle(): Promise<void> {
    for (let idleTurns = 0; idleTurns < 2; idleTurns += 1) {
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#runSoon()) idleTurns = -1;
    }
  }

  /** Moves time on, firing timers in order and settling after each. */
  async advance(durationMs: number): Promise<void> {
    const until = this.#now + durationMs;
    await this.settle();
    for (let timer = this.#next(); timer && timer.at <= until; timer = this.#next()) {
      this.#now = Math.max(this.#now, timer.at);
      this.#timers.delete(timer);
      timer.fire();
      await this.settle();
    }
    this.#now = until;
    await this.settle();
  }

  /** Moves time without firing anything: for code that is asked, not woken. */
  skip(durationMs: number): void {
    this.#now += durationMs;
  }

  #runSoon(): boolean {
    const tasks = this.#soon;
    this.#soon = [];
    for (const task of tasks) task();
    return tasks.length > 0;
  }

  #next(): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (!next || timer.at < next.at || (timer.at === next.at && timer.order < next.order)) next = timer;
    }
    return next;
  }
}
