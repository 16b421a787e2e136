import type { Test } from 'tap';
import type { Departure, FinishedJob, PastTask } from '../../coordinator/model/past.js';
import type { PastJobQuery } from '../../coordinator/store/archive.js';
import { type JobId, jobIdOf } from '../../shared/ids.js';
import { aPastJob, aPastTask } from '../kit/past.js';
import { eventsFrom, type StorePlace, withStore } from './event-store.js';

/** What the archive of every store must do. `makePlace` gives a place with an empty log. */
export function archiveConformance(t: Test, makePlace: (t: Test) => StorePlace): void {
  for (const [title, run] of Object.entries(PROMISES)) t.test(title, (t) => run(t, makePlace(t)));
}

const HOUR = 3_600_000;
const ALL: PastJobQuery = { below: Number.MAX_SAFE_INTEGER, from: 0, limit: 100 };

const PROMISES: Readonly<Record<string, (t: Test, place: StorePlace) => Promise<void>>> = {
  'what leaves memory comes back unchanged, from the next owner too': async (t, place) => {
    const job = aPastJob(1);
    const tasks = [0, 1, 7].map((index) => aPastTask(1, index));
    const check = async (store: ReturnType<StorePlace>): Promise<void> => {
      t.same(await store.pastJob(job.id), job);
      t.same(await store.pastTasks(job.id, 'main', [7, 3, 0]), [tasks[2], tasks[0]]);
      t.same((await store.pastJobs(ALL)).jobs, [job]);
    };
    await withStore(place, async (store) => {
      t.equal(await store.pastJob(job.id), null);
      t.strictSame(await store.pastJobs(ALL), { jobs: [], oldestSequence: undefined });
      await store.append(eventsFrom(1, 1), [...tasks.map(ofTask), ofJob(job)]);
      await check(store);
    });
    await withStore(place, async (store) => {
      await check(store);
      t.strictSame(await store.pastTasks(job.id, 'other', [0]), []);
      t.strictSame(await store.pastTasks('j2' as JobId, 'main', [0]), []);
      t.equal(await store.pastJob('j2' as JobId), null);
      t.equal(await store.pastJob('nonsense' as JobId), null);
    });
  },

  'a replay writes again what is there already, without an event, and nothing is doubled': async (t, place) => {
    const departures = [ofTask(aPastTask(1, 0)), ofJob(aPastJob(1))];
    await withStore(place, async (store) => {
      await store.append(eventsFrom(1, 1), departures);
      await store.append([], departures);
      t.same((await store.pastJobs(ALL)).jobs, [aPastJob(1)]);
      t.equal((await store.pastTasks('j1' as JobId, 'main', [0, 1])).length, 1);
      await store.append(eventsFrom(2, 1));
    });
    await withStore(place, async (_store, { tail }) => t.strictSame(tail, eventsFrom(1, 2)));
  },

  'jobs are listed from the newest to the oldest, by place, name, namespace, user and labels': async (t, place) => {
    const jobs = [
      aPastJob(2, { name: 'align', labels: { zone: 'eu' } }),
      aPastJob(3, { name: 'align', namespace: 'lab', labels: { zone: 'eu', 'a"b': '1\n2' } }),
      aPastJob(5, { name: 'call' }, { submittedBy: 'ann' }),
      aPastJob(10, { name: 'align', labels: { zone: 'eur' } }),
    ];
    await withStore(place, async (store) => {
      await store.append([], jobs.map(ofJob));
      const listed = async (query: Partial<PastJobQuery>): Promise<string[]> =>
        (await store.pastJobs({ ...ALL, ...query })).jobs.map(({ id }) => id);
      t.strictSame(await listed({}), ['j10', 'j5', 'j3', 'j2']);
      t.strictSame(await listed({ limit: 2 }), ['j10', 'j5']);
      t.strictSame(await listed({ below: 10, from: 3 }), ['j5', 'j3']);
      t.strictSame(await listed({ name: 'align' }), ['j10', 'j3', 'j2']);
      t.strictSame(await listed({ name: 'align', namespace: 'lab' }), ['j3']);
      t.strictSame(await listed({ submittedBy: 'ann' }), ['j5']);
      t.strictSame(await listed({ labels: [['zone', 'eu']] }), ['j3', 'j2']);
      t.strictSame(
        await listed({
          labels: [
            ['zone', 'eu'],
            ['a"b', '1\n2'],
          ],
        }),
        ['j3'],
      );
      t.strictSame(await listed({ labels: [['zone', 'e']] }), []);
      t.equal((await store.pastJobs({ ...ALL, name: 'none' })).oldestSequence, 2);
    });
  },

  'jobs may be forgotten when they ended long ago or are too many, but none that ended lately': async (t, place) => {
    const jobs = [1, 2, 3, 4, 5].map((sequence) => aPastJob(sequence, {}, { endedAt: (6 - sequence) * HOUR }));
    await withStore(place, async (store) => {
      await store.append([], jobs.map(ofJob));
      const forgettable = (endedBefore: number, maxJobs: number, keptSince: number): Promise<readonly JobId[]> =>
        store.forgettableJobs({ endedBefore, maxJobs, keptSince }, 3);
      t.strictSame(await forgettable(2 * HOUR, 100, 9 * HOUR), ['j5']);
      t.strictSame(await forgettable(0, 3, 9 * HOUR), ['j5', 'j4']);
      t.strictSame(await forgettable(9 * HOUR, 100, 9 * HOUR), ['j5', 'j4', 'j3'], 'no more than were asked for');
      t.strictSame(await forgettable(9 * HOUR, 0, 2 * HOUR), ['j5'], 'none that ended since then');
      t.strictSame(await forgettable(0, 5, 9 * HOUR), []);
    });
  },

  'a job is forgotten in parts, with its tasks, and others stay': async (t, place) => {
    await withStore(place, async (store) => {
      await store.append(
        [],
        [0, 1, 2].map((index) => ofTask(aPastTask(1, index))),
      );
      await store.append([], [ofJob(aPastJob(1)), ofTask(aPastTask(11, 0)), ofJob(aPastJob(11))]);
      while (await store.forgetJob('j1' as JobId));
      t.equal(await store.pastJob('j1' as JobId), null);
      t.strictSame(await store.pastTasks('j1' as JobId, 'main', [0, 1, 2]), []);
      t.same(await store.pastJob('j11' as JobId), aPastJob(11));
      t.same(await store.pastTasks('j11' as JobId, 'main', [0]), [aPastTask(11, 0)]);
      t.equal(await store.forgetJob('j1' as JobId), false, 'again changes nothing');
    });
  },

  'a store that is closed answers nothing of the archive': async (t, place) => {
    const store = place();
    await store.open();
    await store.close();
    const id = jobIdOf(1);
    const answers: readonly Promise<unknown>[] = [
      store.pastJob(id),
      store.pastJobs(ALL),
      store.pastTasks(id, 'main', [0]),
      store.forgettableJobs({ endedBefore: 0, maxJobs: 0, keptSince: 0 }, 1),
      store.forgetJob(id),
    ];
    for (const answer of answers) await t.rejects(answer, { code: 'store-unavailable' });
  },
};

function ofJob(job: FinishedJob): Departure {
  return { kind: 'job', job };
}

function ofTask(task: PastTask): Departure {
  return { kind: 'task', task };
}
