import type { Clock } from '../../../shared/clock.js';
import { AppError } from '../../../shared/errors.js';
import type { AllocationId } from '../../../shared/ids.js';
import type { DriverEnd, PreparedOrder } from '../driver.js';
import { type SecretFolder, secretsIn } from '../secret-folder.js';
import type { TaskBase } from '../task-environment.js';
import type { AttemptEnds } from './attempt-ends.js';
import { type AttemptRecord, newRecord } from './attempt-record.js';
import type { Allotment, Cores } from './cores.js';
import type { IsolationPlan } from './isolation.js';
import { type Pinning, unrunnable } from './order-script.js';
import type { Places } from './places.js';
import { canPinCells, hasVolumes, pinningOf, prepare, refusedCores, refusedUser } from './prepare.js';
import type { UptimeClock } from './process-table.js';
import { Programs } from './programs.js';
import type { Worker } from './worker.js';
import type { WorkerPool } from './worker-pool.js';

export interface AttemptStartsOptions {
  readonly places: Places;
  readonly pool: WorkerPool;
  readonly cores: Cores;
  readonly ends: AttemptEnds;
  readonly records: Map<AllocationId, AttemptRecord>;
  /** Forgets one that did not come to start. */
  readonly drop: (record: AttemptRecord) => void;
  readonly task: TaskBase;
  readonly secrets?: SecretFolder | undefined;
  readonly isolation: IsolationPlan;
  readonly uptime: UptimeClock;
  readonly clock: Clock;
}

/** Hands orders to workers. */
export class AttemptStarts {
  readonly #options: AttemptStartsOptions;
  readonly #programs: Programs;

  constructor(options: AttemptStartsOptions) {
    this.#options = options;
    this.#programs = new Programs(options.clock);
  }

  /** Throws `task-start-failed`: then it is as if it had not been called. */
  start(order: PreparedOrder): void {
    const { pool, records, ends, isolation } = this.#options;
    const id = order.allocationId;
    const cores = this.#options.cores.allot(order);
    const worker = this.#acquire(order, cores);
    const record = newRecord(id, worker.ledger);
    records.set(id, record);
    const pinning = pinningOf(cores, isolation, this.#programs);
    const refusal = refusalOf(order, isolation, { cores, pinning });
    if (refusal === undefined) this.#hand(order, worker, record, pinning);
    else {
      pool.release(worker);
      ends.end(record, refusal);
    }
  }

  #acquire(order: PreparedOrder, allotment: Allotment): Worker {
    const { isolation, pool, cores } = this.#options;
    try {
      const list = allotment.kind === 'own' && canPinCells(isolation) ? allotment.list : undefined;
      return pool.acquire({ cores: list, isOwn: list !== undefined || hasVolumes(order) });
    } catch (error) {
      cores.release(order.allocationId);
      throw error;
    }
  }

  #hand(order: PreparedOrder, worker: Worker, record: AttemptRecord, pinning: Pinning | undefined): void {
    const { places, pool, secrets, drop, uptime, task, isolation, clock } = this.#options;
    const id = order.allocationId;
    try {
      const own = { secrets: secretsIn(secrets, order), programs: this.#programs, pinning };
      worker.run(id, prepare(places, order, worker, { ...own, task, isolation, clock }), uptime.now());
    } catch (cause) {
      pool.release(worker);
      secrets?.remove(id);
      drop(record);
      throw new AppError('task-start-failed', `the task could not be prepared: ${(cause as Error).message}`, { cause });
    }
  }
}

interface Place {
  readonly cores: Allotment;
  readonly pinning: Pinning | undefined;
}

/** Why an order does not run: another node might, or none can; undefined when it does. */
function refusalOf(order: PreparedOrder, isolation: IsolationPlan, { cores, pinning }: Place): DriverEnd | undefined {
  const refusal = refusedUser(order, isolation) ?? refusedCores(cores, pinning);
  if (refusal !== undefined) return { kind: 'rejected', message: refusal };
  const impossible = unrunnable(order);
  return impossible === undefined ? undefined : { kind: 'start-failed', message: impossible };
}
