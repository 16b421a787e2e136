import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'libsql';
import t, { type Test } from 'tap';
import type { LoggedEvent } from '../../coordinator/model/events.js';
import { toLoggedEvent } from '../../coordinator/store/event-row.js';
import { SqliteStore } from '../../coordinator/store/sqlite.js';
import { openSqliteLog } from '../../coordinator/store/sqlite-log.js';
import type { Snapshot } from '../../coordinator/store/store.js';
import { inspectWal } from '../../coordinator/store/wal-check.js';
import { isAppError } from '../../shared/errors.js';
import { below, seededRandom } from '../../shared/random.js';
import { eventsFrom, withStore } from '../conformance/event-store.js';

/** Appends of the logs that are damaged here: single events, and a last one that fills several pages. */
const SINGLE_COUNT = 20;
const LAST_COUNT = 60;
const EVENT_COUNT = SINGLE_COUNT + LAST_COUNT;

t.test('a log cut anywhere inside its last, unacknowledged append recovers all before it', async (t) => {
  const image = await crashImage(t);
  const [start, end] = lastTransaction(image.wal);
  for (const size of [start, start + 1, start + 24, start + 4_119, start + 4_120, end - 4_096, end - 1]) {
    const stateDir = plant(t, { ...image, wal: image.wal.subarray(0, size), mark: image.markBefore });
    t.strictSame(recover(stateDir), eventsAlone(SINGLE_COUNT), `cut to ${size} of ${end} bytes`);
  }
  const stateDir = plant(t, { ...image, mark: image.markBefore });
  t.strictSame(recover(stateDir), eventsAlone(EVENT_COUNT), 'not cut');
});

t.test('a log whose pages reached the disk out of order when power failed recovers all before them', async (t) => {
  const image = await crashImage(t);
  const [start] = lastTransaction(image.wal);
  const wal = Buffer.from(image.wal).fill(0, start, start + 4_120);
  t.strictSame(recover(plant(t, { ...image, wal, mark: image.markBefore })), eventsAlone(SINGLE_COUNT));
});

t.test('after the recovery of a torn log it goes on without a gap', async (t) => {
  const image = await crashImage(t);
  const [start] = lastTransaction(image.wal);
  const stateDir = plant(t, { ...image, wal: image.wal.subarray(0, start + 5_000), mark: image.markBefore });
  const place = () => new SqliteStore({ stateDir });
  await withStore(place, (store) => store.append(eventsFrom(SINGLE_COUNT + 1, 2)));
  await withStore(place, async (_store, { tail }) => t.strictSame(tail, eventsFrom(1, SINGLE_COUNT + 2)));
});

t.test('a log that ends before its last acknowledged append is refused, and its torn end is kept', async (t) => {
  const image = await crashImage(t);
  const [start, end] = lastTransaction(image.wal);
  for (const size of [0, 32, start, start + 1, end - 1]) {
    const stateDir = plant(t, { ...image, wal: image.wal.subarray(0, size) });
    t.equal(recover(stateDir), 'store-corrupt', `cut to ${size} of ${end} bytes`);
    t.equal(recover(stateDir), 'store-corrupt', 'and again');
  }
  const stateDir = plant(t, { ...image, wal: image.wal.subarray(0, end - 1) });
  recover(stateDir);
  t.strictSame(readFileSync(join(stateDir, 'log.db-wal.torn')), image.wal.subarray(0, end - 1));
});

t.test('one flipped bit anywhere in the write-ahead log is refused', async (t) => {
  const image = await crashImage(t);
  const random = seededRandom(1);
  const places = Array.from({ length: 40 }, () => below(random, image.wal.length));
  for (const at of [0, 9, 17, 31, 32, 40, 50, ...places]) {
    const stateDir = plant(t, { ...image, wal: flipped(image.wal, at, below(random, 8)) });
    t.equal(recover(stateDir), 'store-corrupt', `byte ${at}`);
  }
});

t.test('damage in front of later appends is found without the mark, and SQLite is kept from the files', async (t) => {
  const image = await crashImage(t);
  const starts = transactionStarts(image.wal);
  const beforeLastTwo = starts.at(-3) ?? 0;
  const random = seededRandom(2);
  const stateDir = plant(t, image);
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const at = below(random, beforeLastTwo);
    const path = join(stateDir, 'log.db-wal');
    writeFileSync(path, flipped(image.wal, at, below(random, 8)));
    t.equal(inspectWal(path), 'damaged', `byte ${at}`);
  }
  const damaged = flipped(image.wal, 5_000, 3);
  const refused = plant(t, { ...image, wal: damaged, mark: null });
  t.equal(recover(refused), 'store-corrupt');
  t.strictSame(readFileSync(join(refused, 'log.db-wal')), damaged, 'the evidence is untouched');
  t.strictSame(readFileSync(join(refused, 'log.db')), image.database);
});

t.test('frames from before the log last restarted are not taken for damage', async (t) => {
  const stateDir = join(t.testdir(), 'state');
  mkdirSync(stateDir);
  const path = join(stateDir, 'log.db');
  const database = new Database(path);
  database.exec('PRAGMA journal_mode = WAL; CREATE TABLE filler (body TEXT)');
  for (let row = 0; row < 30; row += 1) database.exec(`INSERT INTO filler VALUES ('${'x'.repeat(9_000)}')`);
  database.exec('PRAGMA wal_checkpoint(RESTART)');
  const before = readFileSync(`${path}-wal`);
  for (let row = 0; row < 3; row += 1) database.exec("INSERT INTO filler VALUES ('y')");
  const copy = join(stateDir, 'copy');
  cpSync(`${path}-wal`, copy);
  t.equal(readFileSync(copy).length, before.length, 'old frames are still there');
  t.equal(inspectWal(copy), 'whole');
  t.equal(inspectWal(join(stateDir, 'absent')), 'whole');
  database.close();
});

t.test('one flipped bit anywhere in the database is refused, or was nowhere that matters', async (t) => {
  const image = await closedImage(t);
  const random = seededRandom(3);
  t.strictSame(recover(plant(t, image)), ALL_CLOSED);
  let refusedCount = 0;
  for (let attempt = 0; attempt < 120; attempt += 1) {
    const at = below(random, image.database.length);
    const found = recover(plant(t, { ...image, database: flipped(image.database, at, below(random, 8)) }));
    if (found === 'store-corrupt') refusedCount += 1;
    else t.strictSame(found, ALL_CLOSED, `byte ${at}`);
  }
  t.ok(refusedCount > 30, `${refusedCount} of 120 were refused`);
});

t.test('a damaged newest snapshot is refused, although an older one is whole', async (t) => {
  const image = await closedImage(t);
  const at = image.database.indexOf('newest snapshot');
  t.ok(at > 0);
  t.equal(recover(plant(t, { ...image, database: flipped(image.database, at, 0) })), 'store-corrupt');
});

t.test('a database that was cut, emptied, deleted or replaced is refused', async (t) => {
  const image = await closedImage(t);
  for (const size of [0, 1, 100, 4_096, image.database.length >> 1, image.database.length - 4_096]) {
    const stateDir = plant(t, { ...image, database: image.database.subarray(0, size) });
    t.equal(recover(stateDir), 'store-corrupt', `cut to ${size} bytes`);
  }
  t.equal(recover(plant(t, { ...image, database: null })), 'store-corrupt');
  t.equal(recover(plant(t, { ...image, database: Buffer.alloc(8_192, 'not a database ') })), 'store-corrupt');
});

t.test('the write-ahead log of a killed coordinator is missed when it was not copied along', async (t) => {
  const image = await crashImage(t);
  t.equal(recover(plant(t, { ...image, wal: null })), 'store-corrupt');
});

t.test('a restored database is accepted once the mark of the lost log is removed', async (t) => {
  const image = await closedImage(t);
  const stateDir = plant(t, { ...image, mark: null });
  t.strictSame(recover(stateDir), ALL_CLOSED);
});

t.test('a damaged mark weakens the check and refuses nothing', async (t) => {
  const image = await closedImage(t);
  const stateDir = plant(t, { ...image, mark: Buffer.from('0000000000009999 00000000\n') });
  t.strictSame(recover(stateDir), ALL_CLOSED);
});

t.test('a refusal names the file and says what to do', async (t) => {
  const image = await closedImage(t);
  const stateDir = plant(t, { ...image, database: Buffer.alloc(8_192, 'not a database ') });
  const store = new SqliteStore({ stateDir });
  await t.rejects(store.open(), { code: 'store-corrupt', message: /log\.db is damaged/, hint: /backup/ });
  await t.rejects(store.append(eventsFrom(1, 1)), { code: 'store-unavailable' });
  await store.close();
});

t.test('a log of a newer format is refused with advice and left as it was', async (t) => {
  const image = await closedImage(t);
  const stateDir = plant(t, image);
  const database = new Database(join(stateDir, 'log.db'));
  database.exec("UPDATE meta SET value = 3 WHERE key = 'format'");
  database.close();
  const before = readFileSync(join(stateDir, 'log.db'));
  await t.rejects(new SqliteStore({ stateDir }).open(), { code: 'store-corrupt', hint: /newer Berth/ });
  t.strictSame(readFileSync(join(stateDir, 'log.db')), before);
});

const NEWEST_SNAPSHOT = { seq: EVENT_COUNT, body: `{"is":"newest snapshot${'.'.repeat(9_000)}"}` };
const ALL_CLOSED = { snapshot: NEWEST_SNAPSHOT, events: eventsFrom(1, EVENT_COUNT) };

function eventsAlone(count: number): { snapshot: null; events: LoggedEvent[] } {
  return { snapshot: null, events: eventsFrom(1, count) };
}

/** The files of a log; null where there is none. */
interface Image {
  readonly database: Buffer | null;
  readonly wal: Buffer | null;
  readonly mark: Buffer | null;
}

interface CrashImage {
  readonly database: Buffer;
  readonly wal: Buffer;
  readonly mark: Buffer;
  /** The mark as it was before the last append was acknowledged. */
  readonly markBefore: Buffer;
}

/** The files as a kill leaves them: everything appended is still in the write-ahead log. */
async function crashImage(t: Test): Promise<CrashImage> {
  const stateDir = join(t.testdir(), 'state');
  return withStore(
    () => new SqliteStore({ stateDir }),
    async (store) => {
      for (const event of eventsFrom(1, SINGLE_COUNT)) await store.append([event]);
      const markBefore = readFileSync(join(stateDir, 'log.mark'));
      await store.append(eventsFrom(SINGLE_COUNT + 1, LAST_COUNT));
      return {
        database: readFileSync(join(stateDir, 'log.db')),
        wal: readFileSync(join(stateDir, 'log.db-wal')),
        mark: readFileSync(join(stateDir, 'log.mark')),
        markBefore,
      };
    },
  );
}

/** The files after an orderly close: everything is in the database, and two snapshots with it. */
async function closedImage(t: Test): Promise<{ database: Buffer; wal: null; mark: Buffer }> {
  const stateDir = join(t.testdir(), 'state');
  await withStore(
    () => new SqliteStore({ stateDir }),
    async (store) => {
      await store.append(eventsFrom(1, EVENT_COUNT));
      await store.saveSnapshot({ seq: SINGLE_COUNT, body: '{"is":"older snapshot"}' });
      await store.saveSnapshot(NEWEST_SNAPSHOT);
    },
  );
  return {
    database: readFileSync(join(stateDir, 'log.db')),
    wal: null,
    mark: readFileSync(join(stateDir, 'log.mark')),
  };
}

let plantCount = 0;

/** A new state directory with these files. */
function plant(t: Test, { database, wal, mark }: Image): string {
  plantCount += 1;
  const stateDir = join(t.testdirName, `planted-${plantCount}`);
  mkdirSync(stateDir);
  if (database) writeFileSync(join(stateDir, 'log.db'), database);
  if (wal) writeFileSync(join(stateDir, 'log.db-wal'), wal);
  if (mark) writeFileSync(join(stateDir, 'log.mark'), mark);
  return stateDir;
}

/** All that the log recovers, or the code with which it is refused. */
function recover(stateDir: string): { snapshot: Snapshot | null; events: LoggedEvent[] | undefined } | string {
  try {
    const { log, extent } = openSqliteLog({ stateDir, retainedEventCount: 1_000 });
    const rows = log.read(0, 1_000);
    log.close();
    return { snapshot: extent.snapshot, events: rows?.map(toLoggedEvent) };
  } catch (error) {
    if (isAppError(error)) return error.code;
    throw error;
  }
}

function flipped(bytes: Buffer, at: number, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt8(copy.readUInt8(at) ^ (1 << bit), at);
  return copy;
}

/** Where the transactions of a WAL of 4 KiB pages begin, and where the last one ends. */
function transactionStarts(wal: Buffer): number[] {
  const starts = [32];
  for (let from = 32; from + 4_120 <= wal.length; from += 4_120) {
    const isCommit = wal.readUInt32BE(from + 4) !== 0;
    if (isCommit) starts.push(from + 4_120);
  }
  return starts;
}

function lastTransaction(wal: Buffer): [number, number] {
  const [start, end] = transactionStarts(wal).slice(-2);
  return [start ?? 0, end ?? 0];
}
