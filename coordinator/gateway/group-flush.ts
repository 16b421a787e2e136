import { flushFolder } from './disk.js';

/** Folders are flushed this many at a time: flushing must not take all of the process's file threads. */
const FLUSHES_AT_ONCE = 2;

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Flushes folders for all who ask while one flush is under way with the next one: a thousand streams that end
 * together cost a few flushes of their job's folder, not a thousand.
 */
export class GroupFlush {
  #waiting = new Map<string, Waiting[]>();
  #runningCount = 0;

  /** Resolves once every name that is in the folder now survives the loss of power. */
  flush(folder: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(folder) ?? [];
      waiting.push({ resolve, reject });
      this.#waiting.set(folder, waiting);
      if (this.#runningCount < FLUSHES_AT_ONCE) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#runningCount += 1;
    for (;;) {
      const [next] = this.#waiting;
      if (next === undefined) break;
      const [folder, waiting] = next;
      this.#waiting.delete(folder);
      try {
        await flushFolder(folder);
        for (const { resolve } of waiting) resolve();
      } catch (error) {
        for (const { reject } of waiting) reject(error);
      }
    }
    this.#runningCount -= 1;
  }
}
