import { type Cancel, type Clock, sleep } from '../../shared/clock.js';
import type { AllocationId } from '../../shared/ids.js';
import type { Attempt } from '../model/attempt.js';
import type { AttemptChanges } from './store.js';

export type Attempts = ReadonlyMap<AllocationId, Attempt>;

interface Waiting {
  readonly changes: AttemptChanges;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Writes do not follow one another faster than this: what a write costs does not depend on how much it brings. */
const REST_MS = 5;
/** What can wait waits no longer. */
const MAX_WAIT_MS = 100;

/** Writes one state at a time; changes that come meanwhile go together into the next. */
export class GroupCommit {
  readonly #write: (attempts: Attempts) => Promise<void>;
  #attempts: Attempts;
  #waiting: Waiting[] = [];
  /** Whether any of them cannot wait. */
  #isUrgent = false;
  #cancelWait: Cancel | undefined;
  #running: Promise<void> | undefined;
  readonly #clock: Clock;
  #restUntil = 0;

  constructor(attempts: Attempts, clock: Clock, write: (attempts: Attempts) => Promise<void>) {
    this.#attempts = attempts;
    this.#clock = clock;
    this.#write = write;
  }

  save(changes: AttemptChanges): Promise<void> {
    const saved = new Promise<void>((resolve, reject) => this.#waiting.push({ changes, resolve, reject }));
    if (changes.canWait) this.#cancelWait ??= this.#clock.after(MAX_WAIT_MS, () => this.#writeAll());
    else this.#writeAll();
    return saved;
  }

  /** Resolves when everything handed in so far is written, or has failed. */
  async settled(): Promise<void> {
    if (this.#waiting.length > 0) this.#writeAll();
    await this.#running;
  }

  #writeAll(): void {
    this.#isUrgent = true;
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    // Whatever else this turn brings is in the first write.
    await undefined;
    while (this.#isUrgent) {
      const restMs = this.#restUntil - this.#clock.monotonic();
      if (restMs > 0) await sleep(this.#clock, restMs);
      this.#restUntil = this.#clock.monotonic() + REST_MS;
      const group = this.#takeAll();
      const attempts = changed(this.#attempts, group);
      try {
        await this.#write(attempts);
        this.#attempts = attempts;
        for (const { resolve } of group) resolve();
      } catch (error) {
        for (const { reject } of group) reject(error);
      }
    }
    // In one go with the look that found nothing: what is handed in a moment later needs a run of its own.
    this.#running = undefined;
  }

  #takeAll(): Waiting[] {
    this.#cancelWait?.();
    this.#cancelWait = undefined;
    this.#isUrgent = false;
    const group = this.#waiting;
    this.#waiting = [];
    return group;
  }
}

function changed(before: Attempts, group: readonly Waiting[]): Attempts {
  const attempts = new Map(before);
  for (const { changes } of group) {
    for (const attempt of changes.put ?? []) attempts.set(attempt.allocationId, attempt);
    for (const id of changes.remove ?? []) attempts.delete(id);
  }
  return attempts;
}
