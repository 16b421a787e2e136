import type { Clock } from '../../shared/clock.js';
import { type Usage, usageOf } from '../../shared/usage.js';
import type { Stager } from './stager.js';

/** When what happened to one attempt, as far as this process saw it; all of the monotonic clock. */
export class AttemptTimes {
  readonly #clock: Clock;
  #phaseSince: number;
  #launchedAt: number | null = null;
  #startedAt: number | null = null;
  #startTookMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#phaseSince = clock.monotonic();
  }

  now(): number {
    return this.#clock.monotonic();
  }

  /** Null until its command runs. */
  get startedAt(): number | null {
    return this.#startedAt;
  }

  get phaseAgeMs(): number {
    return Math.round(this.now() - this.#phaseSince);
  }

  enterPhase(at = this.now()): void {
    this.#phaseSince = at;
  }

  launched(): void {
    this.#launchedAt = this.now();
  }

  /** Returns when that was. */
  started(ageMs: number): number {
    const startedAt = this.now() - ageMs;
    this.#startedAt = startedAt;
    if (this.#launchedAt !== null) this.#startTookMs = startedAt - this.#launchedAt;
    return startedAt;
  }

  /** What the driver counted, with what took time before and after; undefined when nothing is known. */
  usage(counted: Usage, stager: Stager | undefined): Usage | undefined {
    const startedMs = this.#startTookMs - (counted.pulledMs ?? 0) - (stager?.times.stagedInMs ?? 0);
    return usageOf({ startedMs, ...counted, ...stager?.times });
  }
}
