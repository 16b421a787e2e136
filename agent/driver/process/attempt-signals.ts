import type { Clock } from '../../../shared/clock.js';
import type { AttemptEnds } from './attempt-ends.js';
import type { AttemptRecord } from './attempt-record.js';
import type { Run } from './ledger.js';
import type { Sweeper } from './sweeper.js';

/** How often, and how long, a signal is repeated for an attempt that is just starting or ending. */
const RETRY_MS = 10;
const MAX_TRIES = 1_000;
/** How long a change is waited for before what is left is looked at again. */
const LOOK_MS = 2_000;

export interface AttemptSignalsOptions {
  readonly ends: AttemptEnds;
  readonly sweeper: Sweeper;
  readonly clock: Clock;
}

/** Signals to every process of an attempt. */
export class AttemptSignals {
  readonly #options: AttemptSignalsOptions;
  #isClosed = false;

  constructor(options: AttemptSignalsOptions) {
    this.#options = options;
  }

  /** No signal is repeated any more. */
  close(): void {
    this.#isClosed = true;
  }

  /** After SIGKILL nothing is alive when it resolves. */
  async signal(record: AttemptRecord, signal: string): Promise<void> {
    // Between two commands of the worker there is nothing to signal, and the command is about to start or has ended.
    for (let round = 0; !record.end && !this.#isClosed && round < MAX_TRIES; round += 1) {
      const count = record.run ? await this.#send(record, record.run, signal) : 0;
      if (count > 0 && signal !== 'SIGKILL') return;
      if (!record.end) await this.#changeOf(record, RETRY_MS);
    }
    while (record.end && signal === 'SIGKILL' && !record.leavings && !this.#isClosed)
      await this.#changeOf(record, LOOK_MS);
  }

  /** Returns how many processes it met; after SIGKILL none is left. */
  async #send(record: AttemptRecord, run: Run, signal: string): Promise<number> {
    const { ends, sweeper } = this.#options;
    const { cell } = record.ledger;
    if (cell === null) return (await sweeper.signal(ends.rootOf(record, run), signal)).count;
    if (signal !== 'SIGKILL') return cell.signal(run.pid, signal);
    await cell.clear(run.pid);
    return 0;
  }

  /** Resolves at the record's next change, or after the time. */
  #changeOf(record: AttemptRecord, withinMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        record.waiters.delete(done);
        resolve();
      };
      const cancel = this.#options.clock.after(withinMs, done);
      record.waiters.add(done);
    });
  }
}
