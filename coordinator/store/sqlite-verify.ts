import type Database from 'libsql';
import { present } from '../../shared/assert.js';
import { KEPT_SNAPSHOT_COUNT } from './event-row.js';
import { corrupt, tooNew } from './sqlite-fault.js';
import {
  FORMAT,
  SCHEMA,
  STORED_ROW,
  STORED_SNAPSHOT,
  type StoredRow,
  type StoredSnapshot,
  snapshotBody,
  UPGRADES,
  verified,
} from './sqlite-rows.js';
import type { Snapshot } from './store.js';

/** What a verified log holds. */
export interface LogExtent {
  /** One past the last event when none is kept. */
  readonly firstSeq: number;
  /** 0 when none is kept. */
  readonly lastSeq: number;
  readonly snapshot: Snapshot | null;
  readonly oldestSnapshotSeq: number;
}

interface Found {
  readonly path: string;
  /** The last event known to have been acknowledged. */
  readonly acknowledgedSeq: number;
}

/**
 * Reads every byte that the log keeps and refuses it unless all of it is intact; makes the tables of a new log.
 *
 * Everything is checked, not only what is recovered: a page that has rotted says that the disk is not to be trusted.
 * Cost: about 1 s for 200,000 events. Throws `store-corrupt`.
 */
export function verifyLog(database: Database.Database, found: Found): LogExtent {
  const tables = database.prepare('SELECT count(*) AS tableCount FROM sqlite_master').get() as { tableCount: number };
  if (tables.tableCount === 0 && found.acknowledgedSeq === 0) createTables(database);
  for (const table of LOG_TABLES) checkPages(database, table, found.path);
  const format = checkFormat(database, found.path);
  const { firstSeq, lastSeq } = checkEvents(database, found.path);
  if (lastSeq < found.acknowledgedSeq) {
    throw corrupt(
      found.path,
      `events ${lastSeq + 1} to ${found.acknowledgedSeq} had been acknowledged and are missing; the log was cut, or its ` +
        'write-ahead log is damaged or gone',
    );
  }
  const snapshots = checkSnapshots(database, found.path);
  const oldestSnapshotSeq = snapshots.at(-1)?.seq ?? 0;
  const snapshot = snapshots[0] ?? null;
  if (firstSeq > oldestSnapshotSeq + 1) {
    throw corrupt(found.path, `events ${oldestSnapshotSeq + 1} to ${firstSeq - 1} are missing`);
  }
  if (snapshot && snapshot.seq > lastSeq) throw corrupt(found.path, `events up to ${snapshot.seq} are missing`);
  upgrade(database, format);
  return { firstSeq, lastSeq, snapshot, oldestSnapshotSeq };
}

/** The archive is left out: it may be a hundred times as large, and its rows are verified when they are read. */
const LOG_TABLES = ['meta', 'events', 'snapshots', 'snapshotParts'] as const;

function checkPages(database: Database.Database, table: string, path: string): void {
  const statement = database.prepare('SELECT CAST(quick_check AS BLOB) AS finding FROM pragma_quick_check(?)');
  const findings = statement.all(table) as { finding: ArrayBuffer }[];
  const first = findings[0] && Buffer.from(findings[0].finding).toString();
  if (first !== 'ok') throw corrupt(path, first ?? 'its pages cannot be checked');
}

function createTables(database: Database.Database): void {
  database.exec(`BEGIN IMMEDIATE; ${SCHEMA} COMMIT;`);
}

function checkFormat(database: Database.Database, path: string): number {
  const statement = database.prepare("SELECT CAST(value AS INTEGER) AS format FROM meta WHERE key = 'format'");
  const format = (statement.get() as { format: number } | undefined)?.format;
  if (format !== undefined && format > FORMAT) throw tooNew(path, format, FORMAT);
  if (format === FORMAT || (format !== undefined && UPGRADES.has(format))) return format;
  throw corrupt(path, 'its format version cannot be read');
}

/** Only once everything is known to be intact: what is refused must be found as it was. */
function upgrade(database: Database.Database, from: number): void {
  for (let format = from; format < FORMAT; format += 1) {
    database.exec(`BEGIN IMMEDIATE; ${present(UPGRADES.get(format), `upgrade of format ${format}`)} COMMIT;`);
  }
}

function checkEvents(database: Database.Database, path: string): { firstSeq: number; lastSeq: number } {
  const statement = database.prepare(`SELECT ${STORED_ROW} FROM events ORDER BY seq`);
  let firstSeq: number | undefined;
  let lastSeq = 0;
  for (const row of verified(statement.iterate() as Iterable<StoredRow>, path)) {
    firstSeq ??= row.seq;
    lastSeq = row.seq;
  }
  return { firstSeq: firstSeq ?? 1, lastSeq };
}

/** Newest first. Only the newest one's text is held in memory. */
function checkSnapshots(database: Database.Database, path: string): readonly Snapshot[] {
  const rows = database.prepare(`SELECT ${STORED_SNAPSHOT} FROM snapshots ORDER BY seq DESC`).all();
  if (rows.length > KEPT_SNAPSHOT_COUNT) throw corrupt(path, 'it holds more snapshots than were written');
  return (rows as StoredSnapshot[]).map((row, position) => {
    const body = snapshotBody(database, row, path);
    return { seq: row.seq, body: position === 0 ? body : '' };
  });
}
