import t from 'tap';
import { readCoordinatorConfig } from '../../coordinator/config.js';
import { restore, serialize } from '../../coordinator/model/snapshot.js';
import { explainStep } from '../../coordinator/scheduler/explain.js';
import { DEFAULT_PLAN_POLICY, plan } from '../../coordinator/scheduler/plan.js';
import { type Limits, NO_LIMITS, type Quota } from '../../shared/limits.js';
import { anInventory, oneStep } from '../kit/builders.js';
import { Scenario } from '../kit/scenario.js';

function limited(jobs: Readonly<Record<string, Quota>>): { readonly limits: Limits; readonly cluster: Scenario } {
  const limits = { ...NO_LIMITS, jobs: new Map(Object.entries(jobs)) };
  const inventory = anInventory({ capacity: { cpuMillis: 64_000, memoryMiB: 65_536, diskMiB: 0 } });
  return { limits, cluster: new Scenario({ limits }).join('n1', { inventory }) };
}

const named = (name: string, array = '0-3', namespace = 'default') => oneStep({ array }, { name, namespace });

const placed = (cluster: Scenario): string[] =>
  cluster.all('allocation.committed').map(({ allocationId }) => allocationId.replace(/\..*/, ''));

function why(cluster: Scenario, jobId: string, limits: Limits) {
  const job = cluster.job(jobId);
  const step = job?.steps.get('main');
  return job && step && explainStep(cluster.view, { job, step }, { limits, now: cluster.clock.now() });
}

t.test('jobs of one name share a quota within their namespace, and others of the same demand pass', (t) => {
  const { limits, cluster } = limited({ nightly: { taskCount: 3 } });
  t.strictSame(placed(cluster.submit(named('nightly', '0-1'))), ['j1', 'j1']);
  t.strictSame(placed(cluster.submit(named('nightly'))), ['j2']);
  t.match(why(cluster, 'j2', limits), {
    code: 'quota',
    message: 'waits for the quota of jobs named nightly: 3 of 3 tasks are placed',
    details: { owner: 'job', name: 'nightly', resource: 'taskCount', limit: 3, used: 3, needed: 1 },
  });
  t.strictSame(placed(cluster.submit(named('daily', '0-1'))), ['j3', 'j3'], 'behind j2 in its lane');
  t.strictSame(placed(cluster.submit(named('nightly', '0-1', 'lab'))), ['j4', 'j4'], 'another namespace');
  t.strictSame(placed(cluster.exits('j1.0#1')), ['j2']);
  t.end();
});

t.test("a quota for every name is each one's own, and one of a name stands before it", (t) => {
  const { cluster } = limited({ '*': { taskCount: 1 }, big: { cpuMillis: 2_000 } });
  for (const name of ['a', 'b', 'a', 'big']) cluster.submit(named(name));
  const counts = ['j1', 'j2', 'j3', 'j4'].map((id) => cluster.job(id)?.steps.get('main')?.counts.placed);
  t.strictSame(counts, [1, 1, 0, 2]);
  t.end();
});

t.test('a submission beyond the queued quota of its name is refused', (t) => {
  const { cluster } = limited({ nightly: { taskCount: 1, waitingCount: 5 } });
  cluster.submit(named('nightly', '0-4'));
  t.match(cluster.submit(named('nightly', '0-1')).reply, {
    refused: 'queue-full',
    detail: '4 tasks of jobs named nightly are waiting, with these 2 more there would be 6; the quota is 5',
  });
  t.equal(cluster.submit(named('nightly', '0-1', 'lab')).refusal(), undefined);
  t.equal(cluster.submit(named('daily', '0-9')).refusal(), undefined);
  t.match(limited({ '*': { cpuMillis: 500 } }).cluster.submit(named('x')).reply, {
    refused: 'impossible-resources',
    detail: /it needs 1 CPUs, the quota of jobs named x is 0.5 CPUs$/,
  });
  t.end();
});

t.test('the quota of a name holds right after a restart, and in a replay', (t) => {
  const { limits, cluster } = limited({ nightly: { taskCount: 2 } });
  cluster.submit(named('nightly')).exits('j1.0#1').submit(named('nightly'));
  const restored = restore(serialize(cluster.view));
  t.strictSame(
    restored.index.accounts.named('default', 'nightly'),
    cluster.view.index.accounts.named('default', 'nightly'),
  );
  t.strictSame(plan(restored, { ...DEFAULT_PLAN_POLICY, limits }, cluster.clock.now()).placements, []);
  t.end();
});

t.test('nothing is kept of a name whose tasks are all done', (t) => {
  const { cluster } = limited({ '*': { taskCount: 9 } });
  for (let number = 1; number <= 50; number += 1) cluster.submit(named(`run-${number}`, '0')).exits(`j${number}.0#1`);
  cluster.submit(named('canceled', '0-99')).cancel('j51');
  for (const id of [...cluster.view.allocations.keys()].filter((id) => id.startsWith('j51')))
    cluster.reports(id, 'ended', { kind: 'exited', exitCode: 0, ranMs: 1 });
  t.equal(cluster.view.index.accounts.namedCount, 0);
  t.end();
});

t.test('a full name is passed over in its lane, however many of its jobs wait', (t) => {
  const { limits } = limited({ full: { taskCount: 1 } });
  const cluster = new Scenario({ limits, isChecked: false }).join('n1');
  for (let number = 0; number < 500; number += 1) cluster.submit(named('full', '0'));
  t.strictSame(placed(cluster.submit(named('other', '0'))), ['j501']);
  t.strictSame(placed(cluster.exits('j1.0#1')), ['j2']);
  t.end();
});

t.test('weights are of namespaces and users only', async (t) => {
  const refused = await readCoordinatorConfig(['--weights', 'job:a=2'], {}).catch((error: unknown) => error);
  t.match(refused, { problems: [{ message: '"job:a" is nobody; write namespace:NAME or user:NAME' }] });
});
