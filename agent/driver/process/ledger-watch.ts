import { type FSWatcher, watch } from 'node:fs';
import type { Clock } from '../../../shared/clock.js';
import type { Log } from '../../../shared/log.js';

export interface LedgerWatchOptions {
  readonly folder: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Called with the names of ledgers that have grown, those of one turn together. */
  readonly changed: (names: ReadonlySet<string>) => void;
}

/** Hears from the kernel of changes in the folder of ledgers. */
export class LedgerWatch {
  readonly #options: LedgerWatchOptions;
  readonly #watcher: FSWatcher | undefined;
  #names = new Set<string>();
  #isClosed = false;

  constructor(options: LedgerWatchOptions) {
    this.#options = options;
    this.#watcher = this.#watch();
  }

  /** False where the kernel gives no notice (its limit on watches is used up). */
  get isWorking(): boolean {
    return this.#watcher !== undefined;
  }

  close(): void {
    this.#isClosed = true;
    this.#watcher?.close();
  }

  #watch(): FSWatcher | undefined {
    const { folder, log } = this.#options;
    try {
      const watcher = watch(folder, (_event, name) => this.#note(name));
      watcher.on('error', (error) => log.error('ledgers are not watched', { error: error.message }));
      return watcher.unref();
    } catch (error) {
      log.warn('ledgers cannot be watched; is fs.inotify.max_user_watches too low?', {
        error: (error as Error).message,
      });
      return undefined;
    }
  }

  #note(name: string | null): void {
    if (name === null || this.#isClosed) return;
    if (this.#names.size === 0) this.#options.clock.soon(() => this.#tell());
    this.#names.add(name);
  }

  #tell(): void {
    const names = this.#names;
    this.#names = new Set();
    if (!this.#isClosed) this.#options.changed(names);
  }
}
