import type { Cancel, Clock } from '../../shared/clock.js';

/** A clock's timer has a longest delay; what is asked for here may be longer. */
const MAX_DELAY_MS = 24 * 60 * 60 * 1000;

/** Named timers of one owner: setting one again replaces it, and all end together. */
export class Timers<Name extends string> {
  readonly #clock: Clock;
  readonly #pending = new Map<Name, Cancel>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  set(name: Name, delayMs: number, fire: () => void): void {
    this.cancel(name);
    const cancel = this.#clock.after(Math.min(delayMs, MAX_DELAY_MS), () => {
      this.#pending.delete(name);
      if (delayMs > MAX_DELAY_MS) this.set(name, delayMs - MAX_DELAY_MS, fire);
      else fire();
    });
    this.#pending.set(name, cancel);
  }

  cancel(name: Name): void {
    this.#pending.get(name)?.();
    this.#pending.delete(name);
  }

  cancelAll(): void {
    for (const cancel of this.#pending.values()) cancel();
    this.#pending.clear();
  }
}
