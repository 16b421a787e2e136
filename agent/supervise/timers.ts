import type { Cancel, Clock } from '../../shared/clock.js';

/** Named timers of one owner: setting one again replaces it, and all end together. */
export class Timers<Name extends string> {
  readonly #clock: Clock;
  readonly #pending = new Map<Name, Cancel>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  set(name: Name, delayMs: number, fire: () => void): void {
    this.cancel(name);
    const cancel = this.#clock.after(delayMs, () => {
      this.#pending.delete(name);
      fire();
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
