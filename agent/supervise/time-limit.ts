import type { Clock } from '../../shared/clock.js';
import { Timers } from './timers.js';

const RETRY_MS = 1_000;

export interface TimeLimitOptions {
  /** Null for none. */
  readonly limitMs: number | null;
  readonly clock: Clock;
  /** Asks for the stop; called again when it rejects. */
  readonly isUp: () => Promise<void>;
  readonly warn: (message: string, error: unknown) => void;
}

/** The time that an attempt may take, counted here (DECISIONS 26, 88). */
export class TimeLimit {
  readonly #options: TimeLimitOptions;
  readonly #timers: Timers<'limit'>;
  #isWatching = false;

  constructor(options: TimeLimitOptions) {
    this.#options = options;
    this.#timers = new Timers(options.clock);
  }

  /** Counts from that time of the monotonic clock, and from no other any more. */
  watch(since: number): void {
    const { limitMs, clock } = this.#options;
    if (limitMs === null) return;
    this.#isWatching = true;
    this.#timers.set('limit', Math.max(0, since + limitMs - clock.monotonic()), () => this.#end());
  }

  cancel(): void {
    this.#isWatching = false;
    this.#timers.cancelAll();
  }

  #end(): void {
    const { isUp, warn } = this.#options;
    isUp().catch((error: unknown) => {
      if (!this.#isWatching) return;
      warn('time limit could not be put on file', error);
      this.#timers.set('limit', RETRY_MS, () => this.#end());
    });
  }
}
