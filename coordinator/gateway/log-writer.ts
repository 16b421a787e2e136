import type { LogFile } from './log-file.js';

/** Does one thing after another for one stream, so that its chunks are written in the order in which they came. */
export class LogWriter {
  /** Undefined while closed; opened by the next chunk. */
  file: LogFile | undefined;
  #pendingCount = 0;
  #last: Promise<void> = Promise.resolve();

  /** Nothing is under way: the file may be closed. */
  get isIdle(): boolean {
    return this.#pendingCount === 0;
  }

  /** Runs `work` after all earlier work, whether that succeeded or not. */
  enqueue<T>(work: () => Promise<T>): Promise<T> {
    this.#pendingCount += 1;
    const result = this.#last.then(work);
    const settled = (): void => {
      this.#pendingCount -= 1;
    };
    this.#last = result.then(settled, settled);
    return result;
  }
}
