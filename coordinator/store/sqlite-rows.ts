import { crc32 } from 'node:zlib';
import type Database from 'libsql';
import type { AppError } from '../../shared/errors.js';
import type { EventRow } from './event-row.js';
import { ARCHIVE_SCHEMA } from './sqlite-archive.js';
import { corrupt } from './sqlite-fault.js';

/** Raised when the tables change shape, those of the archive and the JSON in them included; a newer one is refused. */
export const FORMAT = 2;

export const SCHEMA = `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL);
  CREATE TABLE events (
    seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, version INTEGER NOT NULL, body TEXT NOT NULL, checksum INTEGER NOT NULL
  );
  CREATE TABLE snapshots (seq INTEGER PRIMARY KEY, partCount INTEGER NOT NULL, checksum INTEGER NOT NULL);
  CREATE TABLE snapshotParts (
    seq INTEGER NOT NULL, part INTEGER NOT NULL, body TEXT NOT NULL, checksum INTEGER NOT NULL, PRIMARY KEY (seq, part)
  );
  ${ARCHIVE_SCHEMA}
  INSERT INTO meta (key, value) VALUES ('format', ${FORMAT});
`;

/** What brings a log of an earlier format to the next one. */
export const UPGRADES: ReadonlyMap<number, string> = new Map([
  [1, `${ARCHIVE_SCHEMA} UPDATE meta SET value = 2 WHERE key = 'format';`],
]);

/**
 * What a statement selects to get StoredRows. Everything is cast to what it should be: the binding aborts the process
 * when it meets a TEXT value that is not UTF-8, which is what a flipped bit makes of one.
 */
export const STORED_ROW = `
  seq, CAST(at AS NUMERIC) AS at, CAST(version AS INTEGER) AS version, CAST(body AS BLOB) AS body,
  CAST(checksum AS INTEGER) AS checksum
`;
export const STORED_SNAPSHOT = 'seq, CAST(partCount AS INTEGER) AS partCount, CAST(checksum AS INTEGER) AS checksum';
const STORED_PART =
  'CAST(seq AS INTEGER) AS seq, CAST(part AS INTEGER) AS part, CAST(body AS BLOB) AS body, CAST(checksum AS INTEGER) AS checksum';

export interface StoredRow extends Omit<EventRow, 'body'> {
  readonly body: ArrayBuffer;
  readonly checksum: number;
}

export interface StoredSnapshot {
  readonly seq: number;
  readonly partCount: number;
  readonly checksum: number;
}

interface StoredPart {
  readonly seq: number;
  readonly part: number;
  readonly body: ArrayBuffer;
  readonly checksum: number;
}

type Text = string | Buffer;

export function eventChecksum({ seq, at, version }: Omit<EventRow, 'body'>, body: Text): number {
  return crc32(body, crc32(`${seq} ${at} ${version} `));
}

export function partChecksum({ seq, part }: Pick<StoredPart, 'seq' | 'part'>, body: Text): number {
  return crc32(body, crc32(`${seq} ${part} `));
}

export function snapshotChecksum({ seq, partCount }: Omit<StoredSnapshot, 'checksum'>): number {
  return crc32(`${seq} ${partCount}`);
}

/** The rows, once each is known to be intact and to follow the one before it. Throws `store-corrupt`. */
export function* verified(rows: Iterable<StoredRow>, path: string): Generator<StoredRow> {
  let expected: number | undefined;
  for (const row of rows) {
    if (expected !== undefined && row.seq !== expected) {
      throw corrupt(path, `event ${expected} is missing; the next one is ${row.seq}`);
    }
    if (eventChecksum(row, Buffer.from(row.body)) !== row.checksum) {
      throw corrupt(path, `the checksum of event ${row.seq} fails`);
    }
    expected = row.seq + 1;
    yield row;
  }
}

export function eventRowOf({ seq, at, version, body }: StoredRow): EventRow {
  return { seq, at, version, body: Buffer.from(body).toString() };
}

/** The snapshot's text, checked part by part. Throws `store-corrupt`. */
export function snapshotBody(database: Database.Database, snapshot: StoredSnapshot, path: string): string {
  const damage = (): AppError => corrupt(path, `the checksum of the snapshot at event ${snapshot.seq} fails`);
  if (snapshotChecksum(snapshot) !== snapshot.checksum) throw damage();
  const statement = database.prepare(`SELECT ${STORED_PART} FROM snapshotParts WHERE seq = ? ORDER BY part`);
  const parts = statement.all(snapshot.seq) as StoredPart[];
  if (parts.length !== snapshot.partCount || !parts.every(isIntactPart)) throw damage();
  return parts.map(({ body }) => Buffer.from(body).toString()).join('');
}

function isIntactPart(stored: StoredPart, position: number): boolean {
  return stored.part === position && partChecksum(stored, Buffer.from(stored.body)) === stored.checksum;
}
