import { assert } from '../../shared/assert.js';
import { AppError } from '../../shared/errors.js';
import type { JobId } from '../../shared/ids.js';
import type { LoggedEvent } from '../model/events.js';
import type { Departure, FinishedJob, PastTask } from '../model/past.js';
import type { PastJobPage, PastJobQuery, RetentionLimits } from './archive.js';
import { toPastRow } from './archive-row.js';
import {
  assertContinues,
  type EventRow,
  forgettableSeq,
  KEPT_SNAPSHOT_COUNT,
  toLoggedEvent,
  toRow,
} from './event-row.js';
import { MemoryArchive } from './memory-archive.js';
import { RETAINED_EVENTS, type Recovered, type Snapshot, type Store } from './store.js';

/**
 * What goes wrong with an append:
 * `fail` keeps nothing and rejects; `lose-ack` keeps everything and rejects; `hang` keeps nothing and never settles.
 */
export type AppendFault = 'fail' | 'lose-ack' | 'hang';

export interface MemoryStoreOptions {
  /** Which append goes wrong, and how; 1 is the first since the store was made, over all its openings. */
  readonly faults?: ReadonlyMap<number, AppendFault>;
  /** When a write becomes durable: with the next microtask (the default), or only when `flush` is called. */
  readonly durable?: 'soon' | 'on-flush';
  readonly retainedEventCount?: number;
}

interface Write {
  readonly keep: () => void;
  readonly fault: AppendFault | undefined;
  readonly resolve: () => void;
  readonly reject: (fault: AppError) => void;
}

/**
 * An event store in this process's memory, for tests and the simulator: no timers, no I/O, and misfortunes on demand.
 *
 * One object is both the disk and its owner: after `crash` or `close` it is opened again and recovers what was durable.
 * It keeps JSON text, so what is read back never shares objects with what was written.
 */
export class MemoryStore implements Store {
  readonly #archive = new MemoryArchive();
  readonly #faults: ReadonlyMap<number, AppendFault>;
  readonly #isManual: boolean;
  readonly #retainedEventCount: number;
  #rows: EventRow[] = [];
  #snapshots: Snapshot[] = [];
  #pending: Write[] = [];
  #state: 'closed' | 'open' | 'failed' = 'closed';
  /** The last event handed to `append`, durable or not. */
  #handedSeq = 0;
  #appendCount = 0;
  #nextFault: AppendFault | undefined;

  constructor(options: MemoryStoreOptions = {}) {
    this.#faults = options.faults ?? new Map();
    this.#isManual = options.durable === 'on-flush';
    this.#retainedEventCount = options.retainedEventCount ?? RETAINED_EVENTS;
  }

  async open(): Promise<Recovered> {
    if (this.#state !== 'closed') throw new AppError('state-dir-busy', 'the memory store is open already');
    this.#state = 'open';
    this.#handedSeq = this.#lastSeq();
    const snapshot = this.#snapshots.at(-1) ?? null;
    const tail = this.#after(snapshot?.seq ?? 0, Number.POSITIVE_INFINITY);
    return { snapshot, tail };
  }

  async append(events: readonly LoggedEvent[], departures: readonly Departure[] = []): Promise<void> {
    this.#requireOpen();
    assertContinues(this.#handedSeq, events);
    this.#handedSeq += events.length;
    this.#appendCount += 1;
    const rows = events.map(toRow);
    const pastRows = departures.map(toPastRow);
    const keep = (): void => {
      this.#rows.push(...rows);
      for (const row of pastRows) this.#archive.keep(row);
    };
    const fault = this.#nextFault ?? this.#faults.get(this.#appendCount);
    this.#nextFault = undefined;
    await this.#write(keep, fault);
  }

  async saveSnapshot(snapshot: Snapshot): Promise<void> {
    this.#requireOpen();
    assert(snapshot.seq <= this.#handedSeq, `snapshot ${snapshot.seq} is ahead of the log`);
    await this.#write(() => this.#keepSnapshot(snapshot));
  }

  async read(afterSeq: number, limit: number): Promise<readonly LoggedEvent[] | null> {
    this.#requireOpen();
    const firstSeq = this.#rows[0]?.seq ?? this.#lastSeq() + 1;
    return afterSeq + 1 < firstSeq ? null : this.#after(afterSeq, limit);
  }

  async pastJob(jobId: JobId): Promise<FinishedJob | null> {
    this.#requireOpen();
    return this.#archive.pastJob(jobId);
  }

  async pastJobs(query: PastJobQuery): Promise<PastJobPage> {
    this.#requireOpen();
    return this.#archive.pastJobs(query);
  }

  async pastTasks(jobId: JobId, step: string, indexes: readonly number[]): Promise<readonly PastTask[]> {
    this.#requireOpen();
    return this.#archive.pastTasks(jobId, step, indexes);
  }

  async forgettableJobs(limits: RetentionLimits, limit: number): Promise<readonly JobId[]> {
    this.#requireOpen();
    return this.#archive.forgettableJobs(limits, limit);
  }

  async forgetJob(jobId: JobId): Promise<boolean> {
    this.#requireOpen();
    return this.#archive.forgetJob(jobId);
  }

  async close(): Promise<void> {
    this.flush();
    this.#state = 'closed';
  }

  /** Makes everything handed over so far durable and settles its promises, in order. */
  flush(): void {
    const writes = this.#pending;
    this.#pending = [];
    for (const write of writes) this.#perform(write);
  }

  /** The next append goes wrong, whichever it is. */
  spoilNextAppend(fault: AppendFault): void {
    this.#nextFault = fault;
  }

  /** The owner dies: what is not yet durable is gone and its promises never settle. The next `open` recovers. */
  crash(): void {
    this.#pending = [];
    this.#nextFault = undefined;
    this.#state = 'closed';
  }

  #write(keep: () => void, fault?: AppendFault): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ keep, fault, resolve, reject });
      if (!this.#isManual && this.#pending.length === 1) queueMicrotask(() => this.flush());
    });
  }

  #perform({ keep, fault, resolve, reject }: Write): void {
    if (fault === 'hang') return;
    const isKept = this.#state !== 'failed' && fault !== 'fail';
    if (isKept) keep();
    if (isKept && fault === undefined) {
      resolve();
    } else {
      this.#state = 'failed';
      reject(new AppError('store-unavailable', 'the memory store was told to fail'));
    }
  }

  #keepSnapshot(snapshot: Snapshot): void {
    const newest = this.#snapshots.at(-1);
    if (newest && newest.seq >= snapshot.seq) return;
    this.#snapshots = [...this.#snapshots, snapshot].slice(-KEPT_SNAPSHOT_COUNT);
    const oldestSeq = this.#snapshots[0]?.seq ?? 0;
    const forgettable = forgettableSeq(this.#lastSeq(), this.#retainedEventCount, oldestSeq);
    const firstSeq = this.#rows[0]?.seq ?? 1;
    if (forgettable >= firstSeq) this.#rows.splice(0, forgettable - firstSeq + 1);
  }

  /** Cost: O(events returned). */
  #after(afterSeq: number, limit: number): readonly LoggedEvent[] {
    const firstSeq = this.#rows[0]?.seq ?? 1;
    const from = Math.max(0, afterSeq + 1 - firstSeq);
    return this.#rows.slice(from, from + limit).map(toLoggedEvent);
  }

  #lastSeq(): number {
    return this.#rows.at(-1)?.seq ?? 0;
  }

  #requireOpen(): void {
    if (this.#state !== 'open') throw new AppError('store-unavailable', 'the memory store is not open');
  }
}
