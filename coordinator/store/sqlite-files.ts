import { chmodSync, closeSync, fsyncSync, mkdirSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import Database from 'libsql';
import type { AcknowledgedMark } from './acknowledged-mark.js';
import { busy, corrupt, unavailable } from './sqlite-fault.js';
import { inspectWal } from './wal-check.js';

export interface StoreFiles {
  readonly stateDir: string;
  readonly database: string;
  readonly wal: string;
  /** Where a torn WAL is kept for diagnosis when the log that SQLite made of it is refused. */
  readonly tornWal: string;
  readonly mark: string;
  readonly lock: string;
}

export function filesIn(stateDir: string): StoreFiles {
  const database = join(stateDir, 'log.db');
  return {
    stateDir,
    database,
    wal: `${database}-wal`,
    tornWal: `${database}-wal.torn`,
    mark: join(stateDir, 'log.mark'),
    lock: join(stateDir, 'log.lock'),
  };
}

/**
 * Makes this process the directory's one owner until the returned connection is closed or the process dies.
 *
 * The lock is SQLite's own on an empty database of its own, so the kernel releases it even after kill -9, and the log's
 * files can be examined under it before SQLite opens them. Throws `state-dir-busy`, `store-unavailable`.
 */
export function lockStateDir(files: StoreFiles): Database.Database {
  makeDirectory(files.stateDir);
  const lock = connect(files.lock);
  try {
    // Without a journal the lock leaves no file but its own.
    lock.exec('PRAGMA journal_mode = OFF');
    lock.exec('BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock.close();
    const isHeld = (error as NodeJS.ErrnoException).code?.startsWith('SQLITE_BUSY');
    throw isHeld ? busy(files.stateDir, files.lock, error) : error;
  }
}

/**
 * Refuses, before SQLite touches a file, what SQLite would silently take for an older or an empty log.
 *
 * @returns the bytes of a WAL whose end is torn, or null: SQLite will overwrite them, and they may yet prove to be needed
 */
export function examineFiles(files: StoreFiles, mark: AcknowledgedMark): Buffer | null {
  if (sizeOf(files.database) === 0 && (mark.foundSeq > 0 || sizeOf(files.wal) > 0)) {
    throw corrupt(files.database, 'it is missing or empty, but the files beside it belong to a log');
  }
  const verdict = inspectWal(files.wal);
  if (verdict === 'damaged') throw corrupt(files.wal, 'a checksum fails in front of events that had been acknowledged');
  return verdict === 'torn' ? readFileSync(files.wal) : null;
}

export function keepTornWal(files: StoreFiles, bytes: Buffer): void {
  try {
    writeFileSync(files.tornWal, bytes, { mode: 0o600 });
  } catch {
    // The refusal that this accompanies matters more.
  }
}

/** Opens the log for durable appends: a commit returns after fsync. */
export function openLog(files: StoreFiles): Database.Database {
  const database = connect(files.database);
  database.exec(`PRAGMA busy_timeout = ${FOREIGN_READER_PATIENCE_MS}`);
  database.exec('PRAGMA journal_mode = WAL');
  database.exec('PRAGMA synchronous = FULL');
  database.exec(`PRAGMA journal_size_limit = ${IDLE_WAL_BYTES}`);
  return database;
}

/** How long a commit waits for somebody who reads or backs up the log with another program. */
const FOREIGN_READER_PATIENCE_MS = 5_000;
/** A large snapshot makes the WAL large; past its next restart it shrinks to this. */
const IDLE_WAL_BYTES = 16 * 2 ** 20;

function connect(path: string): Database.Database {
  try {
    const database = new Database(path);
    // Changed by name: opening a file here and closing it would drop the locks of an owner in this very process.
    chmodSync(path, 0o600);
    return database;
  } catch (error) {
    throw unavailable(`cannot open ${path}: ${(error as Error).message}`, error);
  }
}

/** Makes the directory and what is missing above it, and their entries durable: a log is no safer than its path. */
function makeDirectory(path: string): void {
  const topmostMade = mkdirSync(path, { recursive: true, mode: 0o700 });
  if (topmostMade === undefined) return;
  const topmostLength = resolve(topmostMade).length;
  for (let made = resolve(path); made.length >= topmostLength; made = dirname(made)) {
    const parent = openSync(dirname(made), 'r');
    fsyncSync(parent);
    closeSync(parent);
  }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
