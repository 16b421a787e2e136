import { present } from '../../../shared/assert.js';
import type { Cancel, Clock } from '../../../shared/clock.js';
import { AppError } from '../../../shared/errors.js';
import { type AllocationId, parseAllocationId } from '../../../shared/ids.js';
import type { Log } from '../../../shared/log.js';
import type { Random } from '../../../shared/random.js';
import type { LogStream } from '../../../shared/wire/messages.js';
import { REBOOTED } from '../boot.js';
import type {
  DiskMeter,
  DriverFactory,
  DriverListener,
  OutputFiles,
  PreparedOrder,
  Recovery,
  TaskDriver,
} from '../driver.js';
import type { SecretFolder } from '../secret-folder.js';
import type { TaskBase } from '../task-environment.js';
import { AttemptEnds, endOfKilled } from './attempt-ends.js';
import { AttemptFiles } from './attempt-files.js';
import { type AttemptRecord, tellWaiters, usedBy } from './attempt-record.js';
import { AttemptSignals } from './attempt-signals.js';
import { AttemptStarts } from './attempt-starts.js';
import type { Cell, CellName } from './cell.js';
import { Cores } from './cores.js';
import type { IsolationPlan } from './isolation.js';
import type { LedgerEntry } from './ledger.js';
import type { LedgerFile } from './ledger-file.js';
import { LedgerWatch } from './ledger-watch.js';
import { OldLedgers } from './old-ledgers.js';
import { Places } from './places.js';
import { makeCell } from './prepare.js';
import { UptimeClock, uptimeMs } from './process-table.js';
import { Sweeper } from './sweeper.js';
import { endOfDead, takeOver } from './takeover.js';
import type { Worker } from './worker.js';
import { WorkerPool } from './worker-pool.js';

export interface ProcessDriverOptions {
  /** The driver's own directory; made when missing. */
  readonly directory: string;
  readonly bootId: string;
  readonly task: TaskBase;
  /** Absent where there is no place in memory; then no order has secrets. */
  readonly secrets?: SecretFolder | undefined;
  /** How tasks are kept apart; asked once. */
  readonly isolation: () => Promise<IsolationPlan>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Ledgers are read at every change; this is for a change that the kernel did not tell, and for killed workers. */
const CHECK_MS = 2_000;
/** The same where the kernel gives no notice at all. */
const UNWATCHED_CHECK_MS = 100;

/** Runs attempts as plain processes of this machine, by way of long-lived shells (worker.sh). */
export function processDriver(options: ProcessDriverOptions): DriverFactory {
  return async (listener) => new ProcessDriver({ ...options, isolation: await options.isolation() }, listener);
}

type PlannedOptions = Omit<ProcessDriverOptions, 'isolation'> & { readonly isolation: IsolationPlan };

class ProcessDriver implements TaskDriver {
  readonly disk: DiskMeter;
  readonly output: OutputFiles;
  readonly #options: PlannedOptions;
  readonly #listener: DriverListener;
  readonly #places: Places;
  readonly #pool: WorkerPool;
  readonly #cores: Cores;
  readonly #uptime: UptimeClock;
  readonly #records: Map<AllocationId, AttemptRecord>;
  readonly #files: AttemptFiles;
  readonly #starts: AttemptStarts;
  readonly #ends: AttemptEnds;
  readonly #signals: AttemptSignals;
  readonly #oldLedgers: OldLedgers;
  readonly #wasRebooted: boolean;
  readonly #watch: LedgerWatch;
  #cancelCheck: Cancel = () => {};
  #isClosed = false;

  constructor(options: PlannedOptions, listener: DriverListener) {
    this.#options = options;
    this.#listener = listener;
    this.#places = new Places(options.directory);
    const exited = (worker: Worker, signal: string | null): void => this.#workerExited(worker, signal);
    const makeOne = (name: CellName): Cell | null => makeCell(this.#places, name, options);
    this.#pool = new WorkerPool({ ...options, places: this.#places, makeCell: makeOne, exited });
    const sweeper = new Sweeper({ ...options, isWorker: (pid) => this.#pool.hasPid(pid) });
    const folder = this.#places.folder('ledger');
    this.#watch = new LedgerWatch({ ...options, folder, changed: (names) => this.#readChanged(names) });
    const { records, ledgers, wasRebooted } = takeOver(this.#places, options.bootId, options.clock);
    this.#records = records;
    this.#files = new AttemptFiles(this.#places, records, options.log);
    this.disk = this.#files;
    this.output = this.#files;
    this.#uptime = new UptimeClock(options.clock);
    this.#cores = new Cores(this.#places.folder('cores'));
    this.#cores.keepOnly(new Set(records.keys()));
    const parts = { ...options, places: this.#places, pool: this.#pool, cores: this.#cores, uptime: this.#uptime };
    this.#ends = new AttemptEnds({ ...parts, files: this.#files, sweeper, listener });
    this.#starts = new AttemptStarts({ ...parts, ends: this.#ends, records, drop: (record) => this.#drop(record) });
    this.#signals = new AttemptSignals({ ...options, ends: this.#ends, sweeper });
    this.#oldLedgers = new OldLedgers(ledgers);
    this.#wasRebooted = wasRebooted;
    this.#checkLater();
  }

  async start(order: PreparedOrder): Promise<void> {
    const id = order.allocationId;
    if (this.#records.has(id)) return;
    if (!parseAllocationId(id)) throw new AppError('task-start-failed', `"${id}" is no allocation id`);
    this.#starts.start(order);
  }

  async signal(allocationId: AllocationId, signal: string): Promise<void> {
    const record = this.#records.get(allocationId);
    if (record) await this.#signals.signal(record, signal);
  }

  async recover(allocationIds: readonly AllocationId[]): Promise<ReadonlyMap<AllocationId, Recovery>> {
    const wanted = new Set(allocationIds);
    const recoveries = await Promise.all(allocationIds.map(async (id) => [id, await this.#recoverOne(id)] as const));
    for (const record of [...this.#records.values()]) {
      if (record.end && !wanted.has(record.id)) this.#drop(record);
    }
    for (const id of this.#places.attempts()) {
      if (!wanted.has(id) && !this.#records.has(id)) await this.#places.remove(id);
    }
    this.#options.secrets?.keepOnly(new Set(this.#running()));
    this.#oldLedgers.deleteUnused();
    return new Map(recoveries);
  }

  async read(id: AllocationId, stream: LogStream, offset: number, maxBytes: number): Promise<Uint8Array> {
    return this.#files.read(id, stream, offset, maxBytes);
  }

  async remove(allocationId: AllocationId): Promise<void> {
    const record = this.#records.get(allocationId);
    if (record && !record.leavings) return;
    if (record) this.#drop(record);
    await record?.ledger.cell?.removeFiles(allocationId);
    if (!record?.leavings?.isNothing) await this.#places.remove(allocationId);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#watch.close();
    this.#ends.close();
    this.#signals.close();
    this.#cancelCheck();
    this.#pool.close();
    this.#oldLedgers.close();
    for (const record of this.#records.values()) tellWaiters(record);
  }

  async #recoverOne(id: AllocationId): Promise<Recovery> {
    const record = this.#records.get(id);
    if (!record && !this.#wasRebooted) return { kind: 'absent' };
    if (!record) return { kind: 'ended', end: REBOOTED, output: this.#places.outputBytes(id) };
    if (!record.end) return { kind: 'running', startedAgeMs: uptimeMs() - (record.run?.atUptimeMs ?? uptimeMs()) };
    const { output } = await this.#ends.clear(record);
    return { kind: 'ended', end: record.end, output, usage: usedBy(record) };
  }

  #running(): AllocationId[] {
    return [...this.#records.values()].filter(({ end }) => end === null).map(({ id }) => id);
  }

  #readChanged(names: ReadonlySet<string>): void {
    for (const name of names) {
      const worker = this.#pool.get(name);
      if (worker) this.#readLedger(worker.ledger);
    }
    for (const ledger of this.#oldLedgers.named(names)) this.#readLedger(ledger);
  }

  #readLedger(ledger: LedgerFile): void {
    for (const entry of ledger.read(this.#uptime)) {
      if (this.#records.get(entry.allocationId)?.ledger === ledger) this.#take(entry);
    }
  }

  #take(entry: LedgerEntry): void {
    const record = this.#records.get(entry.allocationId);
    if (!record || record.end) return;
    if (entry.kind === 'exit') {
      if (entry.isDirty) record.ledger.cell?.spoil();
      record.cpuMs = entry.cpuMs;
      this.#ends.end(record, entry.end === 'revoked' ? { kind: 'lost', message: 'its order was revoked' } : entry.end);
    } else if (!record.run) {
      record.run = entry.run;
      tellWaiters(record);
      this.#listener({ kind: 'started', allocationId: record.id });
    }
  }

  #workerExited(worker: Worker, signal: string | null): void {
    if (this.#isClosed) return;
    this.#readLedger(worker.ledger);
    const record = worker.attempt === null ? undefined : this.#records.get(worker.attempt);
    if (record && !record.end) this.#ends.end(record, endOfKilled(record, signal));
    this.#oldLedgers.add(worker.ledger);
    this.#oldLedgers.deleteUnused();
  }

  #checkLater(): void {
    const delayMs = this.#watch.isWorking ? CHECK_MS : UNWATCHED_CHECK_MS;
    this.#cancelCheck = this.#options.clock.after(delayMs, () => {
      this.#check();
      this.#checkLater();
    });
  }

  #check(): void {
    for (const worker of this.#pool.busy()) this.#readLedger(worker.ledger);
    for (const ledger of this.#oldLedgers.inUse()) {
      this.#readLedger(ledger);
      for (const id of ledger.attempts) {
        const record = present(this.#records.get(id), 'attempt of a ledger');
        const end = record.end === null ? endOfDead(record, this.#wasRebooted) : null;
        if (end) this.#ends.end(record, end);
      }
    }
    this.#pool.trim();
    this.#oldLedgers.deleteUnused();
  }

  #drop(record: AttemptRecord): void {
    this.#cores.release(record.id);
    this.#records.delete(record.id);
    record.ledger.attempts.delete(record.id);
  }
}
