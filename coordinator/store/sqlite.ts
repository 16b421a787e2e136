import { assert, present } from '../../shared/assert.js';
import { AppError } from '../../shared/errors.js';
import { type JobId, jobIdOf, parseJobId } from '../../shared/ids.js';
import type { LoggedEvent } from '../model/events.js';
import { type Departure, type FinishedJob, type PastTask, readPastJob, readPastTask } from '../model/past.js';
import type { PastJobPage, PastJobQuery, RetentionLimits } from './archive.js';
import { toPastRow } from './archive-row.js';
import { assertContinues, toLoggedEvent, toRow } from './event-row.js';
import { SqliteThread } from './sqlite-thread.js';
import { RETAINED_EVENTS, type Recovered, type Snapshot, type Store } from './store.js';

export interface SqliteStoreOptions {
  /** Made when it is missing, for its owner alone. */
  readonly stateDir: string;
  readonly retainedEventCount?: number;
}

/** Characters of a snapshot that travel, and are written, at a time: appends slip in between, and no turn is long. */
const PART_LENGTH = 2 ** 20;
/** Events fetched at a time when the log is opened. */
const TAIL_PAGE = 5_000;

/**
 * The event store on disk: `<stateDir>/log.db`, an SQLite database in WAL mode with an fsync per append.
 *
 * SQLite and the disk are waited for in a thread of their own; here, events only turn into JSON and back.
 */
export class SqliteStore implements Store {
  readonly #options: Required<SqliteStoreOptions>;
  #thread: SqliteThread | undefined;
  #closed: Promise<void> | undefined;
  #state: 'new' | 'open' | 'closed' = 'new';
  /** The last event handed to `append`. */
  #handedSeq = 0;
  #newestSnapshotSeq = 0;
  /** Settles, never rejecting, when no snapshot is being saved. */
  #snapshotSaved: Promise<void> = Promise.resolve();

  constructor(options: SqliteStoreOptions) {
    this.#options = { retainedEventCount: RETAINED_EVENTS, ...options };
  }

  async open(): Promise<Recovered> {
    assert(this.#state === 'new', 'a store is opened once');
    this.#state = 'open';
    const thread = new SqliteThread(this.#options);
    this.#thread = thread;
    try {
      const { snapshot, lastSeq } = await thread.opened;
      this.#handedSeq = lastSeq;
      this.#newestSnapshotSeq = snapshot?.seq ?? 0;
      return { snapshot, tail: await readTail(thread, this.#newestSnapshotSeq) };
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async append(events: readonly LoggedEvent[], departures: readonly Departure[] = []): Promise<void> {
    const thread = this.#openThread();
    assertContinues(this.#handedSeq, events);
    this.#handedSeq += events.length;
    try {
      await thread.call('append', events.map(toRow), departures.map(toPastRow));
    } catch (error) {
      this.#state = 'closed';
      throw error;
    }
  }

  /** Saves by turns; a snapshot no newer than the newest kept is dropped. */
  async saveSnapshot(snapshot: Snapshot): Promise<void> {
    const thread = this.#openThread();
    assert(snapshot.seq <= this.#handedSeq, `snapshot ${snapshot.seq} is ahead of the log`);
    const saved = this.#snapshotSaved.then(() => this.#writeSnapshot(thread, snapshot));
    this.#snapshotSaved = saved.catch(() => {});
    await saved;
  }

  async read(afterSeq: number, limit: number): Promise<readonly LoggedEvent[] | null> {
    const rows = await this.#openThread().call('read', afterSeq, limit);
    return rows === null ? null : rows.map(toLoggedEvent);
  }

  async pastJob(jobId: JobId): Promise<FinishedJob | null> {
    const body = await this.#openThread().call('pastJob', parseJobId(jobId) ?? 0);
    return body === null ? null : readPastJob(body);
  }

  async pastJobs(query: PastJobQuery): Promise<PastJobPage> {
    const { bodies, oldestSequence } = await this.#openThread().call('pastJobs', query);
    return { jobs: bodies.map(readPastJob), oldestSequence };
  }

  async pastTasks(jobId: JobId, step: string, indexes: readonly number[]): Promise<readonly PastTask[]> {
    const bodies = await this.#openThread().call('pastTasks', parseJobId(jobId) ?? 0, step, indexes);
    return bodies.map((body) => readPastTask({ jobId, step }, body));
  }

  async forgettableJobs(limits: RetentionLimits, limit: number): Promise<readonly JobId[]> {
    return (await this.#openThread().call('forgettableJobs', limits, limit)).map(jobIdOf);
  }

  async forgetJob(jobId: JobId): Promise<boolean> {
    return this.#openThread().call('forgetJob', parseJobId(jobId) ?? 0);
  }

  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end(): Promise<void> {
    this.#state = 'closed';
    await this.#snapshotSaved;
    // A thread that could not open the log is gone already, or about to be.
    this.#thread?.call('close').catch(() => {});
    await this.#thread?.ended;
  }

  async #writeSnapshot(thread: SqliteThread, { seq, body }: Snapshot): Promise<void> {
    if (seq <= this.#newestSnapshotSeq) return;
    let partCount = 0;
    for (const part of partsOf(body)) {
      await thread.call('putSnapshotPart', seq, partCount, part);
      partCount += 1;
    }
    await thread.call('keepSnapshot', seq, partCount);
    this.#newestSnapshotSeq = seq;
    while (await thread.call('forgetEvents'));
  }

  #openThread(): SqliteThread {
    if (this.#state === 'open') return present(this.#thread, 'thread of an open store');
    throw new AppError('store-unavailable', `the event store in ${this.#options.stateDir} is not open`);
  }
}

async function readTail(thread: SqliteThread, afterSeq: number): Promise<readonly LoggedEvent[]> {
  const tail: LoggedEvent[] = [];
  for (;;) {
    const page = await thread.call('read', tail.at(-1)?.seq ?? afterSeq, TAIL_PAGE);
    for (const row of page ?? []) tail.push(toLoggedEvent(row));
    if (page === null || page.length < TAIL_PAGE) return tail;
  }
}

/** Never parts a surrogate pair: its halves alone have no UTF-8 form. */
function* partsOf(text: string): Generator<string> {
  let from = 0;
  while (from < text.length) {
    let to = Math.min(from + PART_LENGTH, text.length);
    if (to < text.length && isHighSurrogate(text.charCodeAt(to - 1))) to -= 1;
    yield text.slice(from, to);
    from = to;
  }
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}
