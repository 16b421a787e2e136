import type { Test } from 'tap';
import { HpcError } from '../../coordinator/hpc/backend.js';
import { readMarks } from '../../coordinator/hpc/marks.js';
import type { HpcErrorKind } from '../../coordinator/hpc/remote-job.js';
import { MARKS_FOLDER } from '../../coordinator/hpc/submission.js';
import { judge } from '../../coordinator/hpc/witnesses.js';
import { type HpcBench, HpcSite } from '../kit/hpc-site.js';
import { until } from '../kit/until.js';

const signal = new AbortController().signal;

/** They wait for schedulers most of the time, and so side by side. */
const PARALLEL = 6;

/** What every backend must do, whatever is behind it. The site is shared: each test has tags of its own. */
export function hpcBackendConformance(t: Test, makeBench: () => HpcBench): void {
  t.test('promises kept side by side', async (t) => {
    t.jobs = PARALLEL;
    callAll(t, makeBench, PROMISES);
  });
  callAll(t, makeBench, ALONE);
}

function callAll(t: Test, makeBench: () => HpcBench, promises: Promises): void {
  for (const [title, run] of Object.entries(promises)) {
    t.test(title, { buffered: t.jobs > 1 }, async (t) => {
      const site = new HpcSite(makeBench());
      try {
        await run(t, site);
      } finally {
        await site.backend.close();
      }
    });
  }
}

async function failsWith(t: Test, kind: HpcErrorKind, wanted: Promise<unknown>): Promise<HpcError> {
  try {
    await wanted;
  } catch (error) {
    if (error instanceof HpcError) {
      t.equal(error.kind, kind, error.message);
      return error;
    }
    throw error;
  }
  t.fail(`should have failed as ${kind}`);
  return new HpcError(kind, '');
}

type Promises = Readonly<Record<string, (t: Test, site: HpcSite) => Promise<void>>>;

const PROMISES: Promises = {
  'a site is looked at, and an unknown partition named with those that there are': async (t, site) => {
    const found = await site.backend.check(signal);
    t.not(found.system, '');
    if (site.bench.differs?.hasNoPartitions) return;
    t.ok(found.partitions.length > 0);
    const other = site.bench.open(site.target({ partition: 'nowhere' }));
    const error = await failsWith(t, 'refused', other.check(signal));
    t.match(error.message, found.partitions[0]);
    await other.close();
  },

  'a job runs in its workspace with its variables, and its output can be followed': async (t, site) => {
    const value = `it's "q" $HOME \`x\` \\ ü\n*`;
    const script =
      'pwd; printf "%s" "$VALUE" >value; echo one; while [ ! -e go ]; do sleep 0.05; done; echo two; echo bad >&2';
    const { id, submission } = await site.submit({ script, fields: { env: { VALUE: value } } });
    await until('the first lines', async () => (await site.output(submission))?.endsWith('one\n') ?? false);
    const first = (await site.output(submission)) ?? '';
    const workspace = `${submission.work}/files/0`;
    t.equal(first, `${workspace}\none\n`);
    const job = await site.reaches(id, 'running');
    t.same([job.id, job.tag, job.outcome], [id, submission.tag, null]);
    await site.backend.files.write(`${workspace}/go`, Buffer.from(''), { offset: 0, mode: 0o600 }, signal);
    const ended = await site.reaches(id, 'ended');
    t.same(ended.outcome, { kind: 'completed' });
    t.equal(await site.output(submission, 0, 'out', first.length), 'two\n');
    t.equal(await site.output(submission, 0, 'err'), 'bad\n');
    const kept = await site.backend.files.read(`${workspace}/value`, { offset: 0, maxBytes: 1_000 }, signal);
    t.equal(kept && Buffer.from(kept).toString(), value, 'any text arrives as it was');
  },

  'a failure has its code, and is also told by the job itself': async (t, site) => {
    const { id, submission } = await site.submit({ script: 'exit 3' });
    const job = await site.reaches(id, 'ended');
    t.same(job.outcome, { kind: 'failed', exitCode: 3, signal: null });
    const names = await site.backend.files.list(`${submission.work}/${MARKS_FOLDER}`, signal);
    t.same(readMarks(names).tasks.get(0), { remoteId: id, exitCode: 3 });
  },

  'a job that was not submitted gets an estimate, where the system makes any, and is not submitted by that': async (
    t,
    site,
  ) => {
    const { outlook } = site.backend;
    t.equal(outlook !== undefined, site.bench.estimates === true);
    if (!outlook) return;
    const small = site.plan({ script: 'true', fields: { timeLimit: '5m' } });
    const tooLarge = site.plan({ script: 'true', fields: { resources: { cpus: 100_000, memory: '16MiB' } } });
    const estimates = await outlook.estimate([small, tooLarge, small], signal);
    t.match(estimates, [{ kind: 'starts', waitMs: Number }, { kind: 'refused', message: /\w/ }, { kind: 'starts' }]);
    t.same(await site.backend.find(small.tag, signal), []);
  },

  'an array is one job with an outcome for each task, and as bad as its worst': async (t, site) => {
    const { id, submission } = await site.submit({
      array: '1-3',
      script: 'echo "$BERTH_TASK_INDEX"; exit $((BERTH_TASK_INDEX - 1))',
    });
    const job = await site.reaches(id, 'ended');
    const whole = await judge({ id, job }, { backend: site.backend, submission, before: null }, signal);
    t.same(
      whole?.tasks.map(({ index, outcome }) => [index, outcome]),
      [
        [1, { kind: 'completed' }],
        [2, { kind: 'failed', exitCode: 1, signal: null }],
        [3, { kind: 'failed', exitCode: 2, signal: null }],
      ],
    );
    t.same(whole?.outcome, { kind: 'failed', exitCode: 2, signal: null });
    t.equal(await site.output(submission, 2), '2\n');
  },

  'a job is found by its tag, and another tag finds nothing': async (t, site) => {
    const submission = site.plan({ script: 'sleep 30' });
    t.same(await site.backend.find(submission.tag, signal), []);
    await site.prepare(submission);
    const id = await site.backend.submit(submission, signal);
    t.same(
      (await site.backend.find(submission.tag, signal)).map((job) => [job.id, job.tag]),
      [[id, submission.tag]],
    );
    t.same(await site.backend.find(`${submission.tag}-other`, signal), []);
    await site.backend.cancel(id, signal);
  },

  'two senders of one submission get one job': async (t, site) => {
    if (site.bench.differs?.submitsTwice) return t.comment('this system takes what is sent; one of the jobs runs');
    const submission = site.plan({ script: 'sleep 30' });
    await site.prepare(submission);
    const other = site.bench.open(site.target());
    const ids = await Promise.all([site.backend, other, site.backend].map((each) => each.submit(submission, signal)));
    await other.close();
    t.equal(new Set(ids).size, 1, ids.join());
    if (!site.bench.differs?.submitsBlindly) {
      await site.backend.files.remove(`${submission.work}/submitted`, signal);
      t.equal(await site.backend.submit(submission, signal), ids[0], 'also when the first died before it kept the id');
    }
    t.equal((await site.backend.find(submission.tag, signal)).length, 1);
    await site.backend.cancel(ids[0] ?? '', signal);
  },

  'of two jobs with one work directory one runs the task': async (t, site) => {
    const first = await site.submit({ script: 'echo ran; while [ ! -e go ]; do sleep 0.05; done' });
    await site.reaches(first.id, 'running');
    await until('the first has begun', async () => (await site.output(first.submission)) === 'ran\n');
    await site.backend.files.remove(`${first.submission.work}/submitted`, signal);
    const again = { ...first.submission, tag: `${first.submission.tag}-twin` };
    const second = await site.backend.submit(again, signal);
    t.not(second, first.id);
    const twin = await site.reaches(second, 'ended');
    if (!site.bench.differs?.outcomesAreMarks) t.match(twin.outcome, { kind: 'failed', exitCode: 125 });
    await site.backend.files.write(
      `${first.submission.work}/files/0/go`,
      Buffer.from(''),
      { offset: 0, mode: 0o600 },
      signal,
    );
    t.same((await site.reaches(first.id, 'ended')).outcome, { kind: 'completed' });
    t.equal(await site.output(first.submission), 'ran\n');
  },

  'a waiting job says so, and is canceled before it begins': async (t, site) => {
    const { closedPartition } = site.bench;
    if (closedPartition === undefined) return t.comment('no job waits at this site');
    const { id } = await site.submit({ script: 'true', partition: closedPartition });
    const job = await site.reaches(id, 'pending');
    t.equal(job.nodes, '');
    await site.backend.cancel(id, signal);
    if (site.bench.differs?.forgetsWaiting)
      await until('it is gone', async () => (await site.status(id)) === undefined);
    else t.same((await site.reaches(id, 'ended')).outcome, { kind: 'canceled' });
  },

  'a running job is canceled, and canceling again or what is not there changes nothing': async (t, site) => {
    const { id } = await site.submit({ script: 'sleep 60' });
    await site.reaches(id, 'running');
    const job = await site.canceled(id);
    if (site.bench.differs?.cancelIsSignal) t.equal(job.outcome?.kind, 'failed');
    else t.same(job.outcome, { kind: 'canceled' });
    await site.backend.cancel(id, signal);
    await site.backend.cancel('999999', signal);
  },

  'the states of many jobs come by one call, without those that nobody knows': async (t, site) => {
    const jobs = await Promise.all(['exit 0', 'exit 1', 'sleep 30'].map((script) => site.submit({ script })));
    const ids = jobs.map(({ id }) => id);
    await until('two have ended', async () => {
      const found = await site.statuses([...ids, '999999']);
      return [...found.values()].filter(({ state }) => state === 'ended').length === 2;
    });
    const found = await site.statuses([...ids, '999999']);
    t.same([...found.keys()].sort(), [...ids].sort());
    t.same(await site.backend.statusOf([], signal), new Map());
    await site.backend.cancel(ids[2] ?? '', signal);
  },

  'a job that the controller forgot is known by what it left': async (t, site) => {
    const { forget } = site.bench;
    if (!forget) return t.comment('nothing is forgotten at this site');
    const { id, submission } = await site.submit({ script: 'exit 4' });
    await site.reaches(id, 'ended');
    await forget(id);
    const job = await site.status(id);
    const judged = await judge({ id, job }, { backend: site.backend, submission, before: null }, signal);
    t.same(judged?.outcome, { kind: 'failed', exitCode: 4, signal: null });
    t.equal(judged?.id, id);
  },

  'an unknown partition is refused': async (t, site) => {
    if (site.bench.differs?.hasNoPartitions) return t.comment('there are no partitions at this site');
    await failsWith(t, 'refused', site.submit({ script: 'true', partition: 'nowhere' }));
  },

  'nothing is asked for once it is no longer wanted': async (t, site) => {
    await failsWith(t, 'unavailable', site.backend.statusOf(['1'], AbortSignal.abort()));
  },

  'files are written in pieces, digested, moved, listed and removed': async (t, site) => {
    const { files } = site.backend;
    const root = `${site.bench.stagingRoot}/files ${process.pid} it's`;
    const path = `${root}/a/b c`;
    t.equal(await files.read(path, { offset: 0, maxBytes: 10 }, signal), null);
    t.equal(await files.digest(path, signal), null);
    t.same(await files.list(root, signal), []);
    const bytes = Buffer.from(Array.from({ length: 100_000 }, (_, position) => (position * 7) % 256));
    await files.write(path, bytes.subarray(0, 60_000), { offset: 0, mode: 0o640 }, signal);
    await files.write(path, bytes.subarray(60_000), { offset: 60_000, mode: 0o640 }, signal);
    const part = await files.read(path, { offset: 59_990, maxBytes: 20 }, signal);
    t.same(part && [...part], [...bytes.subarray(59_990, 60_010)]);
    t.same([...((await files.read(path, { offset: 100_000, maxBytes: 20 }, signal)) ?? [1])], []);
    const { createHash } = await import('node:crypto');
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    t.same(await files.digest(path, signal), { byteCount: 100_000, sha256 });
    await files.move(path, `${root}/moved`, signal);
    await files.write(`${root}/a/.hidden`, Buffer.from('x'), { offset: 0, mode: 0o600 }, signal);
    t.same([...(await files.list(root, signal))].sort(), ['a/.hidden', 'moved']);
    await files.write(`${root}/moved`, Buffer.from('new'), { offset: 0, mode: 0o600 }, signal);
    t.equal((await files.digest(`${root}/moved`, signal))?.byteCount, 3, 'offset 0 begins anew');
    await files.remove(root, signal);
    await files.remove(root, signal);
    t.same(await files.list(root, signal), []);
  },
};

/** These disturb all others. */
const ALONE: Promises = {
  'a controller that is down is unavailable, and jobs survive that': async (t, site) => {
    const { outage } = site.bench;
    if (!outage) return t.comment('the controller of this site cannot be stopped');
    const { id, submission } = await site.submit({ script: 'while [ ! -e go ]; do sleep 0.05; done; exit 5' });
    await site.reaches(id, 'running');
    await outage.begin();
    await failsWith(t, 'unavailable', site.backend.statusOf([id], signal));
    const { outlook } = site.backend;
    if (outlook) await failsWith(t, 'unavailable', outlook.estimate([submission], signal));
    await outage.end();
    await until('the controller is back', async () => (await site.status(id).catch(() => undefined)) !== undefined);
    const path = `${submission.work}/files/0/go`;
    await site.backend.files.write(path, Buffer.from(''), { offset: 0, mode: 0o600 }, signal);
    t.same((await site.reaches(id, 'ended')).outcome, { kind: 'failed', exitCode: 5, signal: null });
  },
};
