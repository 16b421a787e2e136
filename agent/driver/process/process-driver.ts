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
  DriverEnd,
  DriverFactory,
  DriverListener,
  OutputFiles,
  PreparedOrder,
  Recovery,
  TaskDriver,
} from '../driver.js';
import { type SecretFolder, secretsIn } from '../secret-folder.js';
import type { TaskBase } from '../task-environment.js';
import { AttemptFiles } from './attempt-files.js';
import { type AttemptRecord, newRecord, tellWaiters, usedBy } from './attempt-record.js';
import type { Cell, CellName } from './cell.js';
import { type Allotment, Cores } from './cores.js';
import type { Leavings } from './current-files.js';
import type { IsolationPlan } from './isolation.js';
import type { LedgerEntry, Run } from './ledger.js';
import type { LedgerFile } from './ledger-file.js';
import { LedgerWatch } from './ledger-watch.js';
import { unrunnable } from './order-script.js';
import { Places } from './places.js';
import { canPinCells, hasVolumes, makeCell, pinningOf, prepare, refusedCores, refusedUser } from './prepare.js';
import { readStat, UptimeClock, uptimeMs } from './process-table.js';
import { Programs } from './programs.js';
import { Sweeper } from './sweeper.js';
import { endOfDead, takeOver } from './takeover.js';
import type { TreeRoot } from './tree.js';
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
/** How often, and how long, a signal is repeated for an attempt that is just starting or ending. */
const SIGNAL_RETRY_MS = 10;
const MAX_SIGNAL_TRIES = 1_000;

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
  readonly #sweeper: Sweeper;
  readonly #pool: WorkerPool;
  readonly #cores: Cores;
  readonly #programs: Programs;
  readonly #uptime: UptimeClock;
  readonly #records: Map<AllocationId, AttemptRecord>;
  readonly #files: AttemptFiles;
  /** Of workers that an earlier process started. */
  readonly #adopted: Set<LedgerFile>;
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
    this.#sweeper = new Sweeper({ ...options, isWorker: (pid) => this.#pool.hasPid(pid) });
    const folder = this.#places.folder('ledger');
    this.#watch = new LedgerWatch({ ...options, folder, changed: (names) => this.#readChanged(names) });
    const { records, ledgers, wasRebooted } = takeOver(this.#places, options.bootId, options.clock);
    this.#records = records;
    this.#files = new AttemptFiles(this.#places, records, options.log);
    this.disk = this.#files;
    this.output = this.#files;
    this.#programs = new Programs(options.clock);
    this.#uptime = new UptimeClock(options.clock);
    this.#cores = new Cores(this.#places.folder('cores'));
    this.#cores.keepOnly(new Set(records.keys()));
    this.#adopted = new Set(ledgers);
    this.#wasRebooted = wasRebooted;
    this.#checkLater();
  }

  async start(order: PreparedOrder): Promise<void> {
    const id = order.allocationId;
    if (this.#records.has(id)) return;
    if (!parseAllocationId(id)) throw new AppError('task-start-failed', `"${id}" is no allocation id`);
    const cores = this.#cores.allot(order);
    const worker = this.#acquire(order, cores);
    const record = newRecord(id, worker.ledger);
    this.#records.set(id, record);
    const pinning = pinningOf(cores, this.#options.isolation, this.#programs);
    const refusal = refusedUser(order, this.#options.isolation) ?? refusedCores(cores, pinning);
    if (refusal !== undefined) {
      this.#pool.release(worker);
      this.#end(record, { kind: 'rejected', message: refusal });
      return;
    }
    const impossible = unrunnable(order);
    if (impossible !== undefined) {
      this.#pool.release(worker);
      this.#end(record, { kind: 'start-failed', message: impossible });
      return;
    }
    try {
      const secrets = secretsIn(this.#options.secrets, order);
      const parts = { ...this.#options, secrets, programs: this.#programs, pinning };
      worker.run(id, prepare(this.#places, order, worker, parts), this.#uptime.now());
    } catch (cause) {
      this.#pool.release(worker);
      this.#options.secrets?.remove(id);
      this.#drop(record);
      throw new AppError('task-start-failed', `the task could not be prepared: ${(cause as Error).message}`, { cause });
    }
  }

  async signal(allocationId: AllocationId, signal: string): Promise<void> {
    const record = this.#records.get(allocationId);
    // Between two commands of the worker there is nothing to signal, and the command is about to start or has ended.
    for (let round = 0; record && !record.end && !this.#isClosed && round < MAX_SIGNAL_TRIES; round += 1) {
      const count = record.run ? await this.#send(record, record.run, signal) : 0;
      if (count > 0 && signal !== 'SIGKILL') return;
      if (!record.end) await this.#changeOf(record, SIGNAL_RETRY_MS);
    }
    while (record?.end && signal === 'SIGKILL' && !record.leavings && !this.#isClosed)
      await this.#changeOf(record, CHECK_MS);
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
    this.#deleteOldLedgers();
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
    this.#cancelCheck();
    this.#pool.close();
    for (const ledger of this.#adopted) ledger.close();
    for (const record of this.#records.values()) tellWaiters(record);
  }

  async #recoverOne(id: AllocationId): Promise<Recovery> {
    const record = this.#records.get(id);
    if (!record && !this.#wasRebooted) return { kind: 'absent' };
    if (!record) return { kind: 'ended', end: REBOOTED, output: this.#places.outputBytes(id) };
    if (!record.end) return { kind: 'running', startedAgeMs: uptimeMs() - (record.run?.atUptimeMs ?? uptimeMs()) };
    const { output } = await this.#clear(record);
    return { kind: 'ended', end: record.end, output, usage: usedBy(record) };
  }

  /** Returns how many processes it met; after SIGKILL none is left. */
  async #send(record: AttemptRecord, run: Run, signal: string): Promise<number> {
    const { cell } = record.ledger;
    if (cell === null) return (await this.#sweeper.signal(this.#root(record, run), signal)).count;
    if (signal !== 'SIGKILL') return cell.signal(run.pid, signal);
    await cell.clear(run.pid);
    return 0;
  }

  #acquire(order: PreparedOrder, allotment: Allotment): Worker {
    try {
      const { isolation } = this.#options;
      const cores = allotment.kind === 'own' && canPinCells(isolation) ? allotment.list : undefined;
      return this.#pool.acquire({ cores, isOwn: cores !== undefined || hasVolumes(order) });
    } catch (error) {
      this.#cores.release(order.allocationId);
      throw error;
    }
  }

  #running(): AllocationId[] {
    return [...this.#records.values()].filter(({ end }) => end === null).map(({ id }) => id);
  }

  #readChanged(names: ReadonlySet<string>): void {
    for (const name of names) {
      const worker = this.#pool.get(name);
      if (worker) this.#readLedger(worker.ledger);
    }
    for (const ledger of this.#adopted) if (names.has(ledger.name)) this.#readLedger(ledger);
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
      this.#end(record, entry.end === 'revoked' ? { kind: 'lost', message: 'its order was revoked' } : entry.end);
    } else if (!record.run) {
      record.run = entry.run;
      tellWaiters(record);
      this.#listener({ kind: 'started', allocationId: record.id });
    }
  }

  /** The command is over; it is reported once nothing of it is alive. */
  #end(record: AttemptRecord, end: DriverEnd): void {
    record.end = end;
    tellWaiters(record);
    void this.#clear(record).then(({ output }) => {
      if (this.#isClosed) return;
      this.#options.secrets?.remove(record.id);
      const worker = this.#pool.get(record.ledger.name);
      const { usage, wasOutOfMemory = false } = record.ledger.cell?.group.end() ?? {};
      if (worker?.attempt === record.id) this.#pool.release(worker);
      record.end = wasOutOfMemory && end.kind === 'signaled' ? { ...end, oom: true } : end;
      // A control group counts those too that nobody waited for.
      const used = { ...usedBy(record), ...usage };
      this.#listener({ kind: 'ended', allocationId: record.id, end: record.end, output, usage: used });
    });
  }

  /** Ends what is left of it, and gives what it left its name. */
  async #clear(record: AttemptRecord): Promise<Leavings> {
    if (record.leavings) return record.leavings;
    const isTraceless = await this.#killRest(record);
    this.#cores.release(record.id);
    record.leavings ??= this.#files.putBy(record, isTraceless);
    tellWaiters(record);
    return record.leavings;
  }

  /** Returns whether no process that we cannot see can hold its files open. */
  async #killRest({ id, ledger, run }: AttemptRecord): Promise<boolean> {
    try {
      if (run && ledger.cell) {
        await ledger.cell.clear(run.pid);
        return true;
      }
      return run !== null && !(await this.#sweeper.clear(this.#root({ id, ledger }, run))).hasStranger;
    } catch (error) {
      // What hangs in the kernel must not hold back the end for ever.
      this.#options.log.error('an ended task left processes', { allocationId: id, error: (error as Error).message });
      return false;
    }
  }

  #root(record: Pick<AttemptRecord, 'id' | 'ledger'>, { pid, atUptimeMs }: Run): TreeRoot {
    const isOurs = this.#pool.get(record.ledger.name)?.pid === pid;
    const ownsPid = isOurs || record.ledger.isWrittenBy(pid) || readStat(pid) === undefined;
    return { workerPid: ownsPid ? pid : null, marker: this.#places.work(record.id), startedAtUptimeMs: atUptimeMs };
  }

  #workerExited(worker: Worker, signal: string | null): void {
    if (this.#isClosed) return;
    this.#readLedger(worker.ledger);
    const record = worker.attempt === null ? undefined : this.#records.get(worker.attempt);
    if (record && !record.end) this.#end(record, endOfKilled(record, signal));
    this.#adopted.add(worker.ledger);
    this.#deleteOldLedgers();
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
    for (const ledger of this.#adopted) {
      if (ledger.attempts.size > 0) this.#readLedger(ledger);
      for (const id of ledger.attempts) {
        const record = present(this.#records.get(id), 'attempt of a ledger');
        const end = record.end === null ? endOfDead(record, this.#wasRebooted) : null;
        if (end) this.#end(record, end);
      }
    }
    this.#pool.trim();
    this.#deleteOldLedgers();
  }

  #drop(record: AttemptRecord): void {
    this.#cores.release(record.id);
    this.#records.delete(record.id);
    record.ledger.attempts.delete(record.id);
  }

  #deleteOldLedgers(): void {
    for (const ledger of this.#adopted) {
      if (ledger.attempts.size > 0 || ledger.cell?.remove() === false) continue;
      this.#adopted.delete(ledger);
      ledger.delete();
    }
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

/** The end of an attempt whose worker this process saw die: by a SIGKILL to the whole session, or it never came to run. */
function endOfKilled(record: AttemptRecord, signal: string | null): DriverEnd {
  if (!record.run)
    return {
      kind: 'start-failed',
      message: 'its worker ended before it began; is the disk full, or may nothing be mounted?',
    };
  if (signal !== 'SIGKILL') return { kind: 'lost', message: 'the process that watched the task ended' };
  return { kind: 'signaled', signal, ranMs: uptimeMs() - record.run.atUptimeMs };
}
