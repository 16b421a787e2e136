import type Database from 'libsql';
import { isAppError } from '../../shared/errors.js';
import { AcknowledgedMark } from './acknowledged-mark.js';
import type { PastJobQuery, RetentionLimits } from './archive.js';
import type { PastRow } from './archive-row.js';
import { type EventRow, forgettableSeq, KEPT_SNAPSHOT_COUNT } from './event-row.js';
import { type PastBodies, SqliteArchive } from './sqlite-archive.js';
import { storeFault } from './sqlite-fault.js';
import { examineFiles, filesIn, keepTornWal, lockStateDir, openLog, type StoreFiles } from './sqlite-files.js';
import {
  eventChecksum,
  eventRowOf,
  partChecksum,
  STORED_ROW,
  type StoredRow,
  snapshotChecksum,
  verified,
} from './sqlite-rows.js';
import { type LogExtent, verifyLog } from './sqlite-verify.js';

export interface SqliteLogOptions {
  readonly stateDir: string;
  readonly retainedEventCount: number;
}

/** Events deleted in one transaction, so that appends need not wait for a long one. */
const FORGET_COUNT = 5_000;

/** The log in an SQLite database. Every method blocks its thread until the disk has answered. */
export class SqliteLog {
  readonly #owned: Owned;
  readonly #retainedEventCount: number;
  readonly #insert: Database.Statement;
  readonly #select: Database.Statement;
  readonly #archive: SqliteArchive;
  #firstSeq: number;
  #lastSeq: number;
  #oldestSnapshotSeq: number;

  constructor(owned: Owned, extent: LogExtent, retainedEventCount: number) {
    this.#owned = owned;
    this.#retainedEventCount = retainedEventCount;
    this.#firstSeq = extent.firstSeq;
    this.#lastSeq = extent.lastSeq;
    this.#oldestSnapshotSeq = extent.oldestSnapshotSeq;
    this.#insert = owned.database.prepare(
      'INSERT INTO events (seq, at, version, body, checksum) VALUES (?, ?, ?, ?, ?)',
    );
    this.#select = owned.database.prepare(`SELECT ${STORED_ROW} FROM events WHERE seq > ? ORDER BY seq LIMIT ?`);
    this.#archive = new SqliteArchive(owned.database, owned.files.database);
  }

  /** One transaction; the rows are on disk when it returns. */
  append(rows: readonly EventRow[], pastRows: readonly PastRow[]): void {
    if (rows.length + pastRows.length === 0) return;
    this.#attempt('append to', () => {
      transact(this.#owned.database, () => {
        for (const row of rows) this.#insert.run(row.seq, row.at, row.version, row.body, eventChecksum(row, row.body));
        for (const row of pastRows) this.#archive.put(row);
      });
      this.#lastSeq = rows.at(-1)?.seq ?? this.#lastSeq;
      this.#owned.mark.raise(this.#lastSeq);
    });
  }

  /** As EventStore.read. */
  read(afterSeq: number, limit: number): readonly EventRow[] | null {
    if (afterSeq + 1 < this.#firstSeq) return null;
    return this.#attempt('read', () => {
      const rows = this.#select.iterate(afterSeq, limit) as Iterable<StoredRow>;
      return Array.from(verified(rows, this.#owned.files.database), eventRowOf);
    });
  }

  /** Parts are numbered from 0 and count for nothing before `keepSnapshot`. */
  putSnapshotPart(seq: number, part: number, body: string): void {
    this.#attempt('save a snapshot in', () => {
      const { database } = this.#owned;
      if (part === 0) dropUnfinishedSnapshots(database);
      const insert = database.prepare('INSERT INTO snapshotParts (seq, part, body, checksum) VALUES (?, ?, ?, ?)');
      insert.run(seq, part, body, partChecksum({ seq, part }, body));
    });
  }

  /** Makes the parts put so far a snapshot, and forgets the one that is now too many. */
  keepSnapshot(seq: number, partCount: number): void {
    this.#attempt('save a snapshot in', () => {
      const { database } = this.#owned;
      transact(database, () => {
        const insert = database.prepare('INSERT INTO snapshots (seq, partCount, checksum) VALUES (?, ?, ?)');
        insert.run(seq, partCount, snapshotChecksum({ seq, partCount }));
        database.exec(TRIM_SNAPSHOTS);
        dropUnfinishedSnapshots(database);
      });
      const oldest = database.prepare('SELECT min(seq) AS seq FROM snapshots').get() as { seq: number };
      this.#oldestSnapshotSeq = oldest.seq;
    });
  }

  /** Forgets a slice of the events that need not be kept; returns whether more of them remain. */
  forgetEvents(): boolean {
    const forgettable = forgettableSeq(this.#lastSeq, this.#retainedEventCount, this.#oldestSnapshotSeq);
    if (forgettable < this.#firstSeq) return false;
    const upTo = Math.min(forgettable, this.#firstSeq + FORGET_COUNT - 1);
    this.#attempt('forget old events in', () => {
      this.#owned.database.prepare('DELETE FROM events WHERE seq <= ?').run(upTo);
      this.#firstSeq = upTo + 1;
    });
    return upTo < forgettable;
  }

  pastJob(sequence: number): string | null {
    return this.#attempt('read', () => this.#archive.job(sequence));
  }

  pastJobs(query: PastJobQuery): PastBodies {
    return this.#attempt('read', () => this.#archive.jobs(query));
  }

  pastTasks(sequence: number, step: string, indexes: readonly number[]): readonly string[] {
    return this.#attempt('read', () => this.#archive.tasks(sequence, step, indexes));
  }

  forgettableJobs(limits: RetentionLimits, limit: number): readonly number[] {
    return this.#attempt('read', () => this.#archive.forgettable(limits, limit));
  }

  forgetJob(sequence: number): boolean {
    return this.#attempt('forget an old job in', () => this.#archive.forget(sequence));
  }

  /** Leaves the whole log in one file, if it can, and gives up the directory. Call once, last. */
  close(): void {
    try {
      emptyWal(this.#owned.database);
    } catch {
      // The WAL stays, whole and durable; the next opening replays it.
    }
    release(this.#owned);
  }

  #attempt<Result>(doing: string, work: () => Result): Result {
    try {
      return work();
    } catch (error) {
      throw storeFault(error, doing, this.#owned.files.database);
    }
  }
}

/** Locks, examines and verifies the log in a directory, then starts it with an empty WAL. Throws as EventStore.open. */
export function openSqliteLog({ stateDir, retainedEventCount }: SqliteLogOptions): {
  log: SqliteLog;
  extent: LogExtent;
} {
  const files = filesIn(stateDir);
  const owned: Partial<Owned> & { files: StoreFiles } = { files };
  let tornWal: Buffer | null = null;
  try {
    owned.lock = lockStateDir(files);
    owned.mark = new AcknowledgedMark(files.mark);
    tornWal = examineFiles(files, owned.mark);
    owned.database = openLog(files);
    const extent = verifyLog(owned.database, { path: files.database, acknowledgedSeq: owned.mark.foundSeq });
    // Frames of an earlier life must not stand behind new ones: wal-check counts the commit marks it finds there.
    emptyWal(owned.database);
    owned.mark.raise(extent.lastSeq);
    dropUnfinishedSnapshots(owned.database);
    return { log: new SqliteLog(owned as Owned, extent, retainedEventCount), extent };
  } catch (error) {
    release(owned);
    const fault = storeFault(error, 'open', files.database);
    if (tornWal && isAppError(fault, 'store-corrupt')) keepTornWal(files, tornWal);
    throw fault;
  }
}

/** What an owner of the directory holds open. */
interface Owned {
  readonly files: StoreFiles;
  lock: Database.Database;
  mark: AcknowledgedMark;
  database: Database.Database;
}

function release({ database, mark, lock }: Partial<Owned>): void {
  database?.close();
  mark?.close();
  lock?.close();
}

const TRIM_SNAPSHOTS = `
  DELETE FROM snapshots
  WHERE seq NOT IN (SELECT seq FROM snapshots ORDER BY seq DESC LIMIT ${KEPT_SNAPSHOT_COUNT})
`;

/** Parts of a snapshot that was interrupted or is kept no more. */
function dropUnfinishedSnapshots(database: Database.Database): void {
  database.exec('DELETE FROM snapshotParts WHERE seq NOT IN (SELECT seq FROM snapshots)');
}

function emptyWal(database: Database.Database): void {
  database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
}

function transact(database: Database.Database, work: () => void): void {
  database.exec('BEGIN IMMEDIATE');
  try {
    work();
    database.exec('COMMIT');
  } catch (error) {
    // A full disk has rolled it back already.
    if (database.inTransaction) database.exec('ROLLBACK');
    throw error;
  }
}
