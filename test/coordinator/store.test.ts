import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import Database from 'libsql';
import t from 'tap';
import { MemoryStore } from '../../coordinator/store/memory.js';
import { SqliteStore } from '../../coordinator/store/sqlite.js';
import { below, seededRandom } from '../../shared/random.js';
import {
  eventStoreConformance,
  eventsFrom,
  refusalOf,
  type StorePlace,
  withStore,
} from '../conformance/event-store.js';

t.test('memory store', async (t) => {
  eventStoreConformance(t, (_t, { retainedEventCount }) => {
    const store = new MemoryStore({ retainedEventCount });
    return () => store;
  });
});

t.test('sqlite store', async (t) => {
  eventStoreConformance(t, (t, { retainedEventCount }) => {
    const stateDir = join(t.testdir(), 'state');
    return () => new SqliteStore({ stateDir, retainedEventCount });
  });
});

t.test('a memory store told to fail keeps nothing and refuses what follows until it is opened again', async (t) => {
  const store = new MemoryStore({ faults: new Map([[2, 'fail']]) });
  await store.open();
  await store.append(eventsFrom(1, 1));
  await t.rejects(store.append(eventsFrom(2, 1)), { code: 'store-unavailable' });
  await t.rejects(store.append(eventsFrom(3, 1)), { code: 'store-unavailable' });
  store.crash();
  t.strictSame((await store.open()).tail, eventsFrom(1, 1));
  await store.append(eventsFrom(2, 1));
});

t.test('a memory store told to lose an acknowledgement keeps the events and fails', async (t) => {
  const store = new MemoryStore({ faults: new Map([[1, 'lose-ack']]) });
  await store.open();
  await t.rejects(store.append(eventsFrom(1, 2)), { code: 'store-unavailable' });
  store.crash();
  t.strictSame((await store.open()).tail, eventsFrom(1, 2));
});

t.test('a memory store told to hang keeps nothing and never answers', async (t) => {
  const store = new MemoryStore({ faults: new Map([[1, 'hang']]) });
  await store.open();
  const isAnswered = settlement(store.append(eventsFrom(1, 1)));
  await store.close();
  t.strictSame((await store.open()).tail, []);
  t.equal(isAnswered(), false);
});

t.test('a memory store in manual mode is durable when it is flushed, and a crash drops the rest', async (t) => {
  const store = new MemoryStore({ durable: 'on-flush' });
  await store.open();
  const first = store.append(eventsFrom(1, 1));
  const hasFirst = settlement(first);
  t.strictSame(await store.read(0, 1), []);
  t.equal(hasFirst(), false);
  store.flush();
  await first;
  const hasSecond = settlement(store.append(eventsFrom(2, 1)));
  store.crash();
  t.strictSame((await store.open()).tail, eventsFrom(1, 1));
  t.equal(hasSecond(), false);
  const again = store.append(eventsFrom(2, 1));
  store.flush();
  await again;
  t.strictSame(await store.read(0, 9), eventsFrom(1, 2));
});

t.test('a crash in the same turn drops an append that was not yet durable', async (t) => {
  const store = new MemoryStore();
  await store.open();
  const isAnswered = settlement(store.append(eventsFrom(1, 1)));
  store.crash();
  t.strictSame((await store.open()).tail, []);
  t.equal(isAnswered(), false);
});

t.test('the state directory and its files are for their owner alone', async (t) => {
  const stateDir = join(t.testdir(), 'deep', 'state');
  await withStore(
    () => new SqliteStore({ stateDir }),
    async (store) => {
      await store.append(eventsFrom(1, 1));
      t.equal(modeOf(stateDir), 0o700);
      const files = readdirSync(stateDir);
      t.ok(files.includes('log.db-wal'), 'a write-ahead log is in use');
      for (const file of files) t.equal(modeOf(join(stateDir, file)), 0o600, file);
    },
  );
});

t.test('a state directory that cannot be made or written is reported as unavailable', async (t) => {
  const stateDir = join(t.testdir({ file: '' }), 'file');
  t.equal(await refusalOf(new SqliteStore({ stateDir }).open()), 'store-unavailable');
});

t.test('after an append has failed no other is accepted, even if the fault has passed', async (t) => {
  const stateDir = join(t.testdir(), 'state');
  const meddler = (sql: string): void => {
    const database = new Database(join(stateDir, 'log.db'));
    database.exec(sql);
    database.close();
  };
  await withStore(placeAt(stateDir), async (store) => {
    await store.append(eventsFrom(1, 1));
    meddler('ALTER TABLE events RENAME TO elsewhere');
    await t.rejects(store.append(eventsFrom(2, 1)), { code: 'store-corrupt' });
    meddler('ALTER TABLE elsewhere RENAME TO events');
    await t.rejects(store.append(eventsFrom(3, 1)), { code: 'store-unavailable' });
  });
  await withStore(placeAt(stateDir), async (_store, { tail }) => t.strictSame(tail, eventsFrom(1, 1)));
});

t.test('nothing acknowledged is lost, and no gap is left, whenever the process is killed', async (t) => {
  const stateDir = join(t.testdir(), 'state');
  for (const seed of [1, 2, 3, 4, 5, 6]) {
    const writer = startWriter(stateDir);
    const lines = await killedAfter(writer, 5 + below(seededRandom(seed), 50));
    const acknowledged = Number(lines.at(-1));
    await withStore(placeAt(stateDir), async (store, { snapshot, tail }) => {
      const lastSeq = tail.at(-1)?.seq ?? snapshot?.seq ?? 0;
      t.ok(lastSeq >= acknowledged, `seed ${seed}: ${lastSeq} of at least ${acknowledged}`);
      t.ok(lastSeq <= acknowledged + 3, `seed ${seed}: at most the append under way is there too`);
      const from = (snapshot?.seq ?? 0) + 1;
      t.strictSame(tail, eventsFrom(from, lastSeq - from + 1));
      if (snapshot) t.equal(snapshot.body, `"${snapshot.seq}${'s'.repeat(2 ** 21)}"`);
      const kept = Math.min(lastSeq, 40);
      t.strictSame(await store.read(lastSeq - kept, 100), eventsFrom(lastSeq - kept + 1, kept));
    });
  }
});

t.test('another process is refused while the owner lives, and served once it was killed', async (t) => {
  const stateDir = join(t.testdir(), 'state');
  const writer = startWriter(stateDir);
  await once(writer.stdout ?? writer, 'data');
  await t.rejects(new SqliteStore({ stateDir }).open(), { code: 'state-dir-busy', hint: /fuser .*log\.lock/ });
  const lines = await killedAfter(writer, 1);
  await withStore(placeAt(stateDir), async (_store, { snapshot, tail }) => {
    t.ok((tail.at(-1)?.seq ?? snapshot?.seq ?? 0) >= Number(lines.at(-1)));
  });
});

t.test('a full disk fails the append, and the log goes on once there is space', async (t) => {
  // In a mount namespace of its own, so that nothing stays mounted whatever happens to the test.
  const unshare = process.getuid?.() === 0 ? ['-m'] : ['-rm'];
  const mount = 'mount -t tmpfs -o size=1m berth-test "$3" &&';
  if (spawnSync('unshare', [...unshare, '/bin/sh', '-c', `${mount} true`, '', '', '', t.testdir()]).status !== 0) {
    // Only root may mount; continuous integration runs as root, so there it is never left out.
    t.equal(process.env.CI, undefined, 'a small file system can be mounted');
    return;
  }
  const steps = `${mount} head -c 500000 /dev/zero > "$3/filler" && "$1" "$2" "$3" && rm "$3/filler" && exec "$1" "$2" "$3"`;
  const shell = ['/bin/sh', '-c', steps, 'sh', process.execPath, WRITER, t.testdir()];
  const lines = await outputOf('unshare', [...unshare, ...shell]);
  const full = lines.indexOf('store-unavailable');
  t.ok(full > 1, 'some appends were acknowledged before the disk was full');
  t.equal(lines[full + 1], lines[full - 1], 'exactly these were there afterwards');
  t.ok(lines.length > full + 4, 'and the log went on');
  t.equal(lines.at(-1), 'store-unavailable');
});

t.test('a file that must not grow fails the append, and nothing acknowledged is lost', async (t) => {
  const stateDir = join(t.testdir(), 'state');
  // Without what a test runner makes every Node process load: that would write files, too.
  const script = 'unset NODE_OPTIONS; trap \'\' XFSZ; ulimit -f 1500; exec "$0" "$@"';
  const lines = await outputOf('/bin/sh', ['-c', script, process.execPath, WRITER, stateDir]);
  t.equal(lines.at(-1), 'store-unavailable');
  const acknowledged = Number(lines.at(-2));
  await withStore(placeAt(stateDir), async (store, { snapshot, tail }) => {
    const from = (snapshot?.seq ?? 0) + 1;
    t.strictSame(tail, eventsFrom(from, acknowledged - from + 1));
    await store.append(eventsFrom(acknowledged + 1, 1));
  });
});

const WRITER = fileURLToPath(new URL('../fakes/store-writer.js', import.meta.url));

function placeAt(stateDir: string): StorePlace {
  return () => new SqliteStore({ stateDir, retainedEventCount: 40 });
}

function modeOf(path: string): number {
  return statSync(path).mode & 0o777;
}

/** Tells, when called, whether the promise has settled. */
function settlement(promise: Promise<unknown>): () => boolean {
  let isSettled = false;
  const settle = (): void => {
    isSettled = true;
  };
  promise.then(settle, settle);
  return () => isSettled;
}

function startWriter(stateDir: string): ChildProcess {
  return spawn(process.execPath, [WRITER, stateDir], { stdio: ['ignore', 'pipe', 'inherit'] });
}

/** Kills the writer when it has acknowledged `appendCount` appends; returns its whole lines. */
async function killedAfter(writer: ChildProcess, appendCount: number): Promise<string[]> {
  let output = '';
  writer.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    output += chunk;
    if (output.split('\n').length > appendCount + 1) writer.kill('SIGKILL');
  });
  await once(writer, 'close');
  return output.split('\n').slice(0, -1);
}

async function outputOf(command: string, words: readonly string[]): Promise<string[]> {
  const child = spawn(command, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  return (await text(child.stdout)).trim().split('\n');
}
