import type { AllocationId } from '../../shared/ids.js';
import type { Attempt } from '../model/attempt.js';
import type { AttemptChanges } from './store.js';

export type Attempts = ReadonlyMap<AllocationId, Attempt>;

interface Waiting {
  readonly changes: AttemptChanges;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Writes one state at a time; changes that come meanwhile go together into the next. */
export class GroupCommit {
  readonly #write: (attempts: Attempts) => Promise<void>;
  #attempts: Attempts;
  #waiting: Waiting[] = [];
  #running: Promise<void> | undefined;

  constructor(attempts: Attempts, write: (attempts: Attempts) => Promise<void>) {
    this.#attempts = attempts;
    this.#write = write;
  }

  save(changes: AttemptChanges): Promise<void> {
    const saved = new Promise<void>((resolve, reject) => this.#waiting.push({ changes, resolve, reject }));
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return saved;
  }

  /** Resolves when everything handed in so far is written, or has failed. */
  async settled(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    // Whatever else this turn brings is in the first write.
    await undefined;
    while (this.#waiting.length > 0) {
      const group = this.#waiting;
      this.#waiting = [];
      const attempts = changed(this.#attempts, group);
      try {
        await this.#write(attempts);
        this.#attempts = attempts;
        for (const { resolve } of group) resolve();
      } catch (error) {
        for (const { reject } of group) reject(error);
      }
    }
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
