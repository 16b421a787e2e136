import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { readCoordinatorConfig } from '../../coordinator/config.js';
import { restore, serialize } from '../../coordinator/model/snapshot.js';
import { explainStep } from '../../coordinator/scheduler/explain.js';
import { DEFAULT_PLAN_POLICY, plan } from '../../coordinator/scheduler/plan.js';
import type { StepSpec } from '../../shared/job-spec/spec.js';
import { type Limits, NO_LIMITS, type Quota } from '../../shared/limits.js';
import { anInventory, gpus, oneStep } from '../kit/builders.js';
import { Scenario } from '../kit/scenario.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

function limited(limits: Partial<Limits>): Scenario {
  const inventory = anInventory({ capacity: { cpuMillis: 64_000, memoryMiB: 65_536, diskMiB: 0 }, gpus: gpus(8) });
  return new Scenario({ limits: { ...NO_LIMITS, ...limits } }).join('n1', { inventory });
}

function placedCount(cluster: Scenario): number {
  return cluster.all('allocation.committed').length;
}

function why(cluster: Scenario, jobId: string, limits: Partial<Limits>) {
  const job = cluster.job(jobId);
  const step = job?.steps.get('main');
  if (!job || !step) return undefined;
  return explainStep(cluster.view, { job, step }, { limits: { ...NO_LIMITS, ...limits }, now: cluster.clock.now() });
}

const licensed = (licences: StepSpec['resources']['licences'], array = '0') =>
  oneStep({ array, resources: licences ? { licences } : {} });

t.test('no more than maxParallel tasks of a step are placed at once', (t) => {
  const cluster = limited({}).submit(oneStep({ array: '0-9', maxParallel: 2 }));
  t.equal(placedCount(cluster), 2);
  t.match(why(cluster, 'j1', {}), { code: 'max-parallel', message: 'runs 2 tasks at once, as maxParallel says' });
  cluster.submit(oneStep({ array: '0-2' }));
  t.equal(placedCount(cluster), 3, 'others pass');
  t.equal(placedCount(cluster.exits('j1.0#1')), 1);
  t.end();
});

const QUOTA_ROWS: readonly (readonly [string, Quota, Parameters<typeof oneStep>[0], number, string])[] = [
  ['cpus', { cpuMillis: 5_000 }, { resources: { cpuMillis: 2_000 } }, 2, 'needs 2 CPUs, 4 of 5 are in use'],
  [
    'memory',
    { memoryMiB: 2_048 },
    { resources: { memoryMiB: 1_024 } },
    2,
    'needs 1GiB of memory, 2GiB of 2GiB are in use',
  ],
  [
    'gpus',
    { gpuMillis: 3_000 },
    { resources: { gpus: { count: 1, model: null, minMemoryMiB: null } } },
    3,
    'needs 1 GPUs, 3 of 3 are in use',
  ],
  ['tasks', { taskCount: 4 }, {}, 4, '4 of 4 tasks are placed'],
];

t.test('a quota holds back what its namespace or its user would have beyond it, and says so', (t) => {
  for (const [name, quota, step, count, numbers] of QUOTA_ROWS) {
    const byNamespace = { namespaces: new Map([['lab', quota]]) };
    const cluster = limited(byNamespace).submit(oneStep({ array: '0-9', ...step }, { namespace: 'lab' }));
    t.equal(placedCount(cluster), count, name);
    const message = `waits for the quota of namespace lab: ${numbers}`;
    t.match(why(cluster, 'j1', byNamespace), { code: 'quota', message }, name);
    const byUser = { users: new Map([['*', quota]]) };
    const other = limited(byUser).submit(oneStep({ array: '0-4', ...step }, { namespace: 'a' }));
    other.submit(oneStep({ array: '0-4', ...step }, { namespace: 'b' }));
    t.equal(other.view.index.accounts.user('tester').running.taskCount, count, 'in all namespaces together');
    t.match(why(other, 'j2', byUser), {
      code: 'quota',
      message: `waits for the quota of user tester: ${numbers}`,
    });
  }
  t.end();
});

t.test('quotas hold after a restart too', (t) => {
  const limits = { ...NO_LIMITS, namespaces: new Map([['default', { taskCount: 3 }]]), licences: new Map([['x', 1]]) };
  const cluster = limited(limits)
    .submit(oneStep({ array: '0-9' }))
    .exits('j1.1#1')
    .submit(licensed({ x: 1 }, '0-1'));
  const restored = restore(serialize(cluster.view));
  t.strictSame(plan(restored, { ...DEFAULT_PLAN_POLICY, limits }, cluster.clock.now()).placements, []);
  t.equal(
    plan(restored, DEFAULT_PLAN_POLICY, cluster.clock.now()).placements.length,
    6,
    'without limits all are placed',
  );
  t.end();
});

t.test('a submission beyond the queued quota is refused with queue-full, which names the quota', (t) => {
  const limits = {
    namespaces: new Map([['*', { waitingCount: 5, taskCount: 1 }]]),
    users: new Map([['*', { waitingCount: 8 }]]),
  };
  const cluster = limited(limits).submit(oneStep({ array: '0-4' }));
  t.match(cluster.submit(oneStep({ array: '0-1' })).reply, {
    refused: 'queue-full',
    detail: '4 tasks of namespace default are waiting, with these 2 more there would be 6; the quota is 5',
  });
  t.equal(cluster.submit(oneStep({})).refusal(), undefined, 'one more is within it');
  t.match(cluster.submit(oneStep({ array: '0-3' }, { namespace: 'b' })).reply, {
    detail: /^5 tasks of user tester .* is 8$/,
  });
  cluster.submitAs('ann', oneStep({ array: '0-5' }, { namespace: 'c' }));
  t.match(cluster.reply, { refused: 'queue-full', hint: 'submit fewer tasks at once' });
  t.equal(
    cluster
      .cancel('j1')
      .submit(oneStep({ array: '0-1' }))
      .refusal(),
    undefined,
    'what is canceled waits no more',
  );
  t.end();
});

t.test('licences are counted over the whole cluster and given back', (t) => {
  const limits = { licences: new Map([['matlab', 3]]) };
  const cluster = limited(limits).submit(licensed({ matlab: 2 }, '0-1'));
  t.equal(placedCount(cluster), 1);
  t.match(why(cluster, 'j1', limits), { code: 'licence', message: 'waits for 2 licences "matlab" (2 of 3 in use)' });
  t.equal(placedCount(cluster.submit(licensed({ matlab: 1 }))), 1);
  t.match(why(cluster, 'j1', {}), { message: 'no licence "matlab" exists in this cluster any more' });
  cluster.exits('j2.0#1').exits('j1.0#1');
  t.equal(placedCount(cluster), 1);
  t.end();
});

t.test('what no limit would ever allow is refused by name', (t) => {
  const limits = { licences: new Map([['matlab', 3]]), users: new Map([['tester', { cpuMillis: 2_000 }]]) };
  const cluster = limited(limits);
  t.match(cluster.submit(licensed({ matlap: 1 })).reply, {
    refused: 'impossible-resources',
    detail: 'no task of step "main" could ever start: the cluster has no licence "matlap"; did you mean "matlab"?',
    problems: [{ field: 'steps[0].resources.licences.matlap' }],
  });
  t.match(cluster.submit(licensed({ matlab: 4 })).reply, {
    detail: /it needs 4 licences "matlab", the cluster has 3$/,
  });
  t.match(cluster.submit(oneStep({ resources: { cpuMillis: 3_000 } })).reply, {
    detail: /it needs 3 CPUs, the quota of user tester is 2 CPUs$/,
  });
  t.end();
});

t.test('no plan goes beyond a limit, and what waits for a limit really meets it', (t) => {
  const job = fc.record({
    cpuMillis: fc.integer({ min: 100, max: 3_000 }),
    taskCount: fc.integer({ min: 1, max: 8 }),
    maxParallel: fc.integer({ min: 1, max: 4 }),
    licences: fc.integer({ min: 1, max: 3 }),
    namespace: fc.constantFrom('a', 'b'),
    user: fc.constantFrom('x', 'y'),
    priority: fc.integer({ min: 0, max: 1 }),
  });
  fc.assert(
    fc.property(fc.array(job, { minLength: 1, maxLength: 8 }), (jobs) => {
      const limits: Limits = {
        ...NO_LIMITS,
        namespaces: new Map([['a', { cpuMillis: 5_000 }]]),
        users: new Map([['*', { taskCount: 6 }]]),
        licences: new Map([['l', 4]]),
      };
      const cluster = limited(limits);
      for (const { cpuMillis, taskCount, maxParallel, licences, namespace, user, priority } of jobs) {
        const resources = { cpuMillis, licences: { l: licences } };
        const spec = oneStep({ array: `0-${taskCount - 1}`, maxParallel, resources }, { namespace, priority });
        cluster.submitAs(user, spec);
      }
      const { accounts } = cluster.view.index;
      if (accounts.namespace('a').running.cpuMillis > 5_000) throw new Error('the quota of a is exceeded');
      for (const user of ['x', 'y'])
        if (accounts.user(user).running.taskCount > 6) throw new Error(`the quota of ${user} is exceeded`);
      if (accounts.licencesHeld('l') > 4) throw new Error('more licences than there are');
      for (const { id, steps } of cluster.view.jobs.values()) {
        const step = steps.get('main');
        if (step && step.counts.placed > (step.spec.maxParallel ?? 0)) throw new Error(`${id} exceeds maxParallel`);
        if (why(cluster, id, limits)?.code === 'starting') throw new Error(`${id} could go and waits`);
      }
    }),
    { numRuns: 60, seed: 3 },
  );
  t.pass('60 random queues');
  t.end();
});

t.test('limits are read from flags, and every mistake in them is reported', async (t) => {
  const { limits } = await readCoordinatorConfig(
    [
      ...['--quotas', 'namespace:lab=cpus=64,memory=1TiB,gpus=1.5,tasks=500,queued=9', '--quotas', 'user:*=tasks=2'],
      ...['--quotas', 'job:nightly=tasks=10,queued=100'],
      ...['--weights', 'namespace:lab=3', '--weights', 'user:ann=0.5', '--licences', 'matlab=2'],
      ...['--preemption', 'high=low', '--preemption', '500=0'],
    ],
    {},
  );
  t.strictSame(limits, {
    namespaces: new Map([
      ['lab', { cpuMillis: 64_000, memoryMiB: 1_048_576, gpuMillis: 1_500, taskCount: 500, waitingCount: 9 }],
    ]),
    users: new Map([['*', { taskCount: 2 }]]),
    jobs: new Map([['nightly', { taskCount: 10, waitingCount: 100 }]]),
    namespaceWeights: new Map([['lab', 3]]),
    userWeights: new Map([['ann', 0.5]]),
    licences: new Map([['matlab', 2]]),
    preemption: [
      { from: 100, upTo: -100 },
      { from: 500, upTo: 0 },
    ],
    secretKeys: new Set(),
  });
  const unfit = (text: string) => readCoordinatorConfig(['--preemption', text], {}).catch((error: Error) => error);
  t.match(await unfit('hihg=low'), { problems: [{ message: /"hihg" is not a priority; .*did you mean "high"/ }] });
  const spred = await readCoordinatorConfig(['--packing', 'spred'], {}).catch((error: Error) => error);
  t.match(spred, { problems: [{ message: /"spred" is no policy; .*did you mean "spread"/ }] });
  t.match(await unfit('low=high'), { problems: [{ message: /lets tasks stop their equals/ }] });
  const wrong = [
    '--quotas',
    'lab=cpus=1',
    '--quotas',
    'user:a=cpu=1,tasks=x',
    '--weights',
    'user:a=0',
    '--licences',
    'm=-1',
  ];
  const refused = await readCoordinatorConfig(wrong, {}).catch((error: unknown) => error);
  t.match(refused, {
    problems: [
      {
        field: '--quotas',
        message: /^"lab" is nobody.*; user:a: "cpu" is not one of .*"cpus".*, "tasks" "x" is not a whole/,
      },
      { field: '--weights', message: /^user:a: "0" is not a weight/ },
      { field: '--licences', message: /^m: "-1" is not a whole number/ },
    ],
  });
});

t.test('limits are read from the configuration file too', async (t) => {
  const path = join(temporaryFolder(t), 'berth.yaml');
  const text =
    'quotas:\n  namespace:lab: {cpus: 64, queued: 9}\nweights: {user:ann: 2}\nlicences: {matlab: 2}\npreemption: {high: low}\npacking: spread\n';
  writeFileSync(path, text);
  const { limits, packing } = await readCoordinatorConfig(['--config', path], {});
  t.strictSame(limits.namespaces, new Map([['lab', { cpuMillis: 64_000, waitingCount: 9 }]]));
  t.strictSame([limits.userWeights, limits.licences], [new Map([['ann', 2]]), new Map([['matlab', 2]])]);
  t.strictSame(limits.preemption, [{ from: 100, upTo: -100 }]);
  t.equal(packing, 'spread');
});
