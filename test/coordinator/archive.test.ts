import { join } from 'node:path';
import Database from 'libsql';
import t from 'tap';
import { MemoryStore } from '../../coordinator/store/memory.js';
import { SqliteStore } from '../../coordinator/store/sqlite.js';
import type { JobId } from '../../shared/ids.js';
import { archiveConformance } from '../conformance/archive.js';
import { eventsFrom, type StorePlace, withStore } from '../conformance/event-store.js';
import { aPastJob, aPastTask } from '../kit/past.js';

const JOB = 'j1' as JobId;

t.test('memory store', async (t) => {
  archiveConformance(t, () => {
    const store = new MemoryStore();
    return () => store;
  });
});

t.test('sqlite store', async (t) => {
  archiveConformance(t, (t) => placeIn(join(t.testdir(), 'state')));
});

t.test('an append that fails archives nothing; one whose acknowledgement is lost archives all', async (t) => {
  const store = new MemoryStore({
    faults: new Map([
      [1, 'fail'],
      [2, 'lose-ack'],
    ]),
  });
  const departures = [{ kind: 'job', job: aPastJob(1) } as const];
  for (const [fault, isKept] of [
    ['fail', false],
    ['lose-ack', true],
  ] as const) {
    await store.open();
    await t.rejects(store.append(eventsFrom(1, 1), departures), { code: 'store-unavailable' });
    store.crash();
    const { tail } = await store.open();
    t.equal(tail.length === 1, isKept, fault);
    t.equal((await store.pastJob(JOB)) !== null, isKept, fault);
    store.crash();
  }
});

t.test('a log of the format before the archive is brought to this one, with all that it holds', async (t) => {
  const stateDir = join(t.testdir(), 'state');
  await withStore(placeIn(stateDir), (store) => store.append(eventsFrom(1, 3)));
  meddle(stateDir, "DROP TABLE pastJobs; DROP TABLE pastTasks; UPDATE meta SET value = 1 WHERE key = 'format'");
  await withStore(placeIn(stateDir), async (store, { tail }) => {
    t.strictSame(tail, eventsFrom(1, 3));
    await store.append(eventsFrom(4, 1), [{ kind: 'job', job: aPastJob(1) }]);
  });
  await withStore(placeIn(stateDir), async (store) => t.same(await store.pastJob(JOB), aPastJob(1)));
});

t.test('a damaged record is refused when it is read, and the log goes on', async (t) => {
  const stateDir = join(t.testdir(), 'state');
  await withStore(placeIn(stateDir), async (store) => {
    await store.append(eventsFrom(1, 1), [
      { kind: 'job', job: aPastJob(1) },
      { kind: 'task', task: aPastTask(1, 0) },
    ]);
  });
  meddle(stateDir, "UPDATE pastJobs SET body = replace(body, 'job-1', 'job-2'); UPDATE pastTasks SET taskIndex = 1");
  await withStore(placeIn(stateDir), async (store) => {
    await t.rejects(store.pastJob(JOB), { code: 'store-corrupt', message: /archived job 1/ });
    await t.rejects(store.pastTasks(JOB, 'main', [1]), { code: 'store-corrupt', message: /archived task 1\.main\.1/ });
    await store.append(eventsFrom(2, 1));
  });
});

function placeIn(stateDir: string): StorePlace {
  return () => new SqliteStore({ stateDir });
}

function meddle(stateDir: string, sql: string): void {
  const database = new Database(join(stateDir, 'log.db'));
  database.exec(sql);
  database.close();
}
