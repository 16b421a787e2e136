import type { Log } from '../../../shared/log.js';
import type { DriverEnd, DriverListener } from '../driver.js';
import type { SecretFolder } from '../secret-folder.js';
import type { AttemptFiles } from './attempt-files.js';
import { type AttemptRecord, tellWaiters, usedBy } from './attempt-record.js';
import type { Cores } from './cores.js';
import type { Leavings } from './current-files.js';
import type { Run } from './ledger.js';
import type { Places } from './places.js';
import { readStat, uptimeMs } from './process-table.js';
import type { Sweeper } from './sweeper.js';
import type { TreeRoot } from './tree.js';
import type { WorkerPool } from './worker-pool.js';

export interface AttemptEndsOptions {
  readonly places: Places;
  readonly pool: WorkerPool;
  readonly cores: Cores;
  readonly files: AttemptFiles;
  readonly sweeper: Sweeper;
  readonly secrets?: SecretFolder | undefined;
  readonly log: Log;
  readonly listener: DriverListener;
}

/** What follows when a command is over: nothing of it is left alive, what it left gets its name, and it is reported. */
export class AttemptEnds {
  readonly #options: AttemptEndsOptions;
  #isClosed = false;

  constructor(options: AttemptEndsOptions) {
    this.#options = options;
  }

  /** Nothing is reported any more. */
  close(): void {
    this.#isClosed = true;
  }

  /** The command is over; it is reported once nothing of it is alive. */
  end(record: AttemptRecord, end: DriverEnd): void {
    record.end = end;
    tellWaiters(record);
    void this.clear(record).then((leavings) => {
      if (!this.#isClosed) this.#report(record, end, leavings);
    });
  }

  /** Ends what is left of it, and gives what it left its name. */
  async clear(record: AttemptRecord): Promise<Leavings> {
    if (record.leavings) return record.leavings;
    const isTraceless = await this.#killRest(record);
    this.#options.cores.release(record.id);
    record.leavings ??= this.#options.files.putBy(record, isTraceless);
    tellWaiters(record);
    return record.leavings;
  }

  /** How what belongs to the attempt is recognised. */
  rootOf({ id, ledger }: AttemptRecord, { pid, atUptimeMs }: Run): TreeRoot {
    const isOurs = this.#options.pool.get(ledger.name)?.pid === pid;
    const ownsPid = isOurs || ledger.isWrittenBy(pid) || readStat(pid) === undefined;
    return { workerPid: ownsPid ? pid : null, marker: this.#options.places.work(id), startedAtUptimeMs: atUptimeMs };
  }

  #report(record: AttemptRecord, end: DriverEnd, { output }: Leavings): void {
    const { secrets, pool, listener } = this.#options;
    const { id, ledger } = record;
    secrets?.remove(id);
    const worker = pool.get(ledger.name);
    const { usage, wasOutOfMemory = false } = ledger.cell?.group.end() ?? {};
    if (worker?.attempt === id) pool.release(worker);
    record.end = wasOutOfMemory && end.kind === 'signaled' ? { ...end, oom: true } : end;
    // A control group counts those too that nobody waited for.
    const used = { ...usedBy(record), ...usage };
    listener({ kind: 'ended', allocationId: id, end: record.end, output, usage: used });
  }

  /** Returns whether no process that we cannot see can hold its files open. */
  async #killRest(record: AttemptRecord): Promise<boolean> {
    const { id, ledger, run } = record;
    try {
      if (run && ledger.cell) {
        await ledger.cell.clear(run.pid);
        return true;
      }
      return run !== null && !(await this.#options.sweeper.clear(this.rootOf(record, run))).hasStranger;
    } catch (error) {
      // What hangs in the kernel must not hold back the end for ever.
      this.#options.log.error('an ended task left processes', { allocationId: id, error: (error as Error).message });
      return false;
    }
  }
}

/** The end of an attempt whose worker this process saw die: by a SIGKILL to the whole session, or it never came to run. */
export function endOfKilled(record: AttemptRecord, signal: string | null): DriverEnd {
  if (!record.run)
    return {
      kind: 'start-failed',
      message: 'its worker ended before it began; is the disk full, or may nothing be mounted?',
    };
  if (signal !== 'SIGKILL') return { kind: 'lost', message: 'the process that watched the task ended' };
  return { kind: 'signaled', signal, ranMs: uptimeMs() - record.run.atUptimeMs };
}
