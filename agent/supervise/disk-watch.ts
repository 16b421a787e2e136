import type { Cancel, Clock } from '../../shared/clock.js';
import type { StartOrder } from '../../shared/wire/messages.js';
import type { TaskDriver } from '../driver/driver.js';
import type { Stager } from './stager.js';

const CHECK_MS = 5_000;
/** A measurement that takes long is followed by a pause so many times as long. */
const PAUSE_FACTOR = 20;
const MIB = 1024 ** 2;

export interface DiskWatchOptions {
  readonly clock: Clock;
  readonly limitBytes: number;
  readonly measure: () => Promise<number>;
  /** Called at every measurement that finds more than the limit. */
  readonly exceeded: () => void;
}

/** Measures from time to time what an attempt has on disk. Between two measurements it may have more. */
export class DiskWatch {
  readonly #options: DiskWatchOptions;
  #cancel: Cancel = () => {};
  #isOn = false;

  constructor(options: DiskWatchOptions) {
    this.#options = options;
  }

  start(): void {
    this.#isOn = true;
    this.#checkAfter(CHECK_MS);
  }

  stop(): void {
    this.#isOn = false;
    this.#cancel();
  }

  #checkAfter(delayMs: number): void {
    this.#cancel = this.#options.clock.after(delayMs, () => void this.#check());
  }

  async #check(): Promise<void> {
    const { clock, limitBytes, measure, exceeded } = this.#options;
    const beganAt = clock.monotonic();
    const bytes = await measure();
    if (!this.#isOn) return;
    if (bytes > limitBytes) exceeded();
    if (this.#isOn) this.#checkAfter(Math.max(CHECK_MS, PAUSE_FACTOR * (clock.monotonic() - beganAt)));
  }
}

export interface DiskWatchParts {
  readonly order: StartOrder | null;
  readonly driver: TaskDriver | undefined;
  readonly stager: Stager | undefined;
  readonly clock: Clock;
  readonly exceeded: () => void;
}

/** Undefined for an attempt that asked for no disk, and where its driver cannot tell. */
export function diskWatchFor({ order, driver, stager, ...more }: DiskWatchParts): DiskWatch | undefined {
  const meter = driver?.disk;
  if (order === null || order.resources.diskMiB === 0 || meter === undefined) return undefined;
  const { allocationId, resources } = order;
  const folders = stager ? [stager.workspace] : [];
  const measure = (): Promise<number> => meter.diskUse(allocationId, folders);
  return new DiskWatch({ ...more, limitBytes: resources.diskMiB * MIB, measure });
}
