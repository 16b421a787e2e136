import { crc32 } from 'node:zlib';
import type Database from 'libsql';
import type { PastJobQuery, RetentionLimits } from './archive.js';
import { labelPattern, type PastJobRow, type PastRow, type PastTaskRow } from './archive-row.js';
import { corrupt } from './sqlite-fault.js';

/** Since format 2. Times and numbers are INTEGER; text is searched by and never read back, but for the bodies. */
export const ARCHIVE_SCHEMA = `
  CREATE TABLE pastJobs (
    sequence INTEGER PRIMARY KEY, name TEXT NOT NULL, namespace TEXT NOT NULL, submittedBy TEXT NOT NULL,
    labels TEXT NOT NULL, endedAt INTEGER NOT NULL, body TEXT NOT NULL, checksum INTEGER NOT NULL
  );
  CREATE INDEX pastJobsByName ON pastJobs (name, sequence);
  CREATE INDEX pastJobsByEnd ON pastJobs (endedAt, sequence);
  CREATE TABLE pastTasks (
    sequence INTEGER NOT NULL, step TEXT NOT NULL, taskIndex INTEGER NOT NULL, body TEXT NOT NULL,
    checksum INTEGER NOT NULL, PRIMARY KEY (sequence, step, taskIndex)
  ) WITHOUT ROWID;
`;

/** Tasks deleted in one transaction, so that appends need not wait for a long one. */
const FORGET_COUNT = 5_000;

/** As STORED_ROW has it: a TEXT value that is not UTF-8 would abort the process. */
const STORED_BODY = 'sequence, CAST(body AS BLOB) AS body, CAST(checksum AS INTEGER) AS checksum';

interface StoredBody {
  readonly sequence: number;
  readonly body: ArrayBuffer;
  readonly checksum: number;
}

/** A page of the bodies of past jobs. */
export interface PastBodies {
  readonly bodies: readonly string[];
  readonly oldestSequence: number | undefined;
}

/**
 * The tables of what has left memory. Its rows are verified when they are read and not when the log is opened: they may
 * be millions, and nothing that is decided depends on them.
 */
export class SqliteArchive {
  readonly #database: Database.Database;
  readonly #path: string;
  readonly #insertTask: Database.Statement;
  readonly #selectTask: Database.Statement;

  constructor(database: Database.Database, path: string) {
    this.#database = database;
    this.#path = path;
    this.#insertTask = database.prepare(
      'INSERT OR REPLACE INTO pastTasks (sequence, step, taskIndex, body, checksum) VALUES (?, ?, ?, ?, ?)',
    );
    this.#selectTask = database.prepare(
      `SELECT ${STORED_BODY} FROM pastTasks WHERE sequence = ? AND step = ? AND taskIndex = ?`,
    );
  }

  /** Inside the caller's transaction. */
  put(row: PastRow): void {
    if (row.kind === 'job') this.#putJob(row);
    else this.#putTask(row);
  }

  job(sequence: number): string | null {
    const found = this.#database.prepare(`SELECT ${STORED_BODY} FROM pastJobs WHERE sequence = ?`).get(sequence) as
      | StoredBody
      | undefined;
    return found ? this.#bodyOf(found, jobPlace(sequence)) : null;
  }

  jobs({ below, from, limit, name, namespace, submittedBy, labels = [] }: PastJobQuery): PastBodies {
    const conditions = ['sequence < ?', 'sequence >= ?'];
    const values: (number | string)[] = [below, from];
    const demand = (condition: string, value: string): void => {
      conditions.push(condition);
      values.push(value);
    };
    if (name !== undefined) demand('name = ?', name);
    if (namespace !== undefined) demand('namespace = ?', namespace);
    if (submittedBy !== undefined) demand('submittedBy = ?', submittedBy);
    for (const label of labels) demand('instr(labels, ?) > 0', labelPattern(label));
    const select = `SELECT ${STORED_BODY} FROM pastJobs WHERE ${conditions.join(' AND ')} ORDER BY sequence DESC LIMIT ?`;
    const rows = this.#database.prepare(select).all(...values, limit) as StoredBody[];
    const oldest = this.#database.prepare('SELECT min(sequence) AS sequence FROM pastJobs').get() as {
      sequence: number | null;
    };
    return {
      bodies: rows.map((row) => this.#bodyOf(row, jobPlace(row.sequence))),
      oldestSequence: oldest.sequence ?? undefined,
    };
  }

  /** In the order of `indexes`, without those that are not here. */
  tasks(sequence: number, step: string, indexes: readonly number[]): readonly string[] {
    return indexes.flatMap((index) => {
      const found = this.#selectTask.get(sequence, step, index) as StoredBody | undefined;
      return found ? [this.#bodyOf(found, taskPlace({ sequence, step, index }))] : [];
    });
  }

  forgettable({ endedBefore, maxJobs, keptSince }: RetentionLimits, limit: number): readonly number[] {
    const { count } = this.#database.prepare('SELECT count(*) AS count FROM pastJobs').get() as { count: number };
    const select = 'SELECT sequence, endedAt FROM pastJobs WHERE endedAt < ? ORDER BY endedAt, sequence LIMIT ?';
    const rows = this.#database.prepare(select).all(keptSince, limit) as { sequence: number; endedAt: number }[];
    return rows
      .filter(({ endedAt }, position) => endedAt < endedBefore || position < count - maxJobs)
      .map(({ sequence }) => sequence);
  }

  /** A slice of the job's tasks, or the job itself once they are gone; true while something remains. */
  forget(sequence: number): boolean {
    const slice = 'SELECT step, taskIndex FROM pastTasks WHERE sequence = ? LIMIT ?';
    const { changes } = this.#database
      .prepare(`DELETE FROM pastTasks WHERE sequence = ? AND (step, taskIndex) IN (${slice})`)
      .run(sequence, sequence, FORGET_COUNT);
    if (changes === FORGET_COUNT) return true;
    this.#database.prepare('DELETE FROM pastJobs WHERE sequence = ?').run(sequence);
    return false;
  }

  #putJob({ sequence, name, namespace, submittedBy, labels, endedAt, body }: PastJobRow): void {
    const insert = `
      INSERT OR REPLACE INTO pastJobs (sequence, name, namespace, submittedBy, labels, endedAt, body, checksum)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?)`;
    const checksum = bodyChecksum(jobPlace(sequence), body);
    this.#database.prepare(insert).run(sequence, name, namespace, submittedBy, labels, endedAt, body, checksum);
  }

  #putTask({ body, ...place }: PastTaskRow): void {
    this.#insertTask.run(place.sequence, place.step, place.index, body, bodyChecksum(taskPlace(place), body));
  }

  #bodyOf({ body, checksum }: StoredBody, place: string): string {
    const bytes = Buffer.from(body);
    if (bodyChecksum(place, bytes) !== checksum) throw corrupt(this.#path, `the checksum of ${place} fails`);
    return bytes.toString();
  }
}

function jobPlace(sequence: number): string {
  return `archived job ${sequence}`;
}

function taskPlace({ sequence, step, index }: Omit<PastTaskRow, 'body'>): string {
  return `archived task ${sequence}.${step}.${index}`;
}

function bodyChecksum(place: string, body: string | Buffer): number {
  return crc32(body, crc32(`${place} `));
}
