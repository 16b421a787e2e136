import type { Clock } from '../../shared/clock.js';
import type { AllocationId } from '../../shared/ids.js';
import type { TaskDriver } from '../driver/driver.js';
import { Timers } from './timers.js';

const KILL_RETRY_MS = 10_000;

export interface StopSequenceOptions {
  readonly allocationId: AllocationId;
  readonly driver: TaskDriver | undefined;
  readonly clock: Clock;
  readonly failed: (error: unknown) => void;
}

/** A signal, its grace, then SIGKILL until the attempt has ended. */
export class StopSequence {
  readonly #options: StopSequenceOptions;
  readonly #timers: Timers<'grace'>;

  constructor(options: StopSequenceOptions) {
    this.#options = options;
    this.#timers = new Timers(options.clock);
  }

  /** Begun again, it begins anew. */
  begin({ signal, graceMs }: { readonly signal: string; readonly graceMs: number }): void {
    if (graceMs > 0) this.#send(signal);
    this.#timers.set('grace', graceMs, () => this.#kill());
  }

  cancel(): void {
    this.#timers.cancelAll();
  }

  #kill(): void {
    this.#send('SIGKILL');
    this.#timers.set('grace', KILL_RETRY_MS, () => this.#kill());
  }

  #send(signal: string): void {
    const { driver, allocationId, failed } = this.#options;
    driver?.signal(allocationId, signal).catch(failed);
  }
}
