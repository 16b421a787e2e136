import fc from 'fast-check';
import t from 'tap';
import { ordersOf } from '../../coordinator/engine/orders.js';
import { explainStep } from '../../coordinator/scheduler/explain.js';
import type { AllocationId } from '../../shared/ids.js';
import { type RetrySpec, SPEC_DEFAULTS } from '../../shared/job-spec/spec.js';
import { NO_LIMITS } from '../../shared/limits.js';
import { anInventory, gpus, oneStep } from '../kit/builders.js';
import { LEASE_MS, Scenario } from '../kit/scenario.js';

const gang = (size: number, parts: Parameters<typeof oneStep>[0] = {}, job: Parameters<typeof oneStep>[1] = {}) =>
  oneStep({ array: `0-${size - 1}`, gang: true, ...parts }, job);

const placed = (cluster: Scenario): [string, string][] =>
  cluster.all('allocation.committed').map(({ allocationId, nodeId }) => [allocationId, nodeId]);

const stopped = (cluster: Scenario): string[] =>
  cluster.all('allocation.stopRequested').map((event) => event.allocationId);

const requeued = (cluster: Scenario) =>
  cluster.all('task.requeued').map(({ index, attempt, spentAttempts }) => [index, attempt, spentAttempts]);

const retrying: RetrySpec = { ...SPEC_DEFAULTS.retry, maxAttempts: 2, backoffMs: 0, on: ['exited', 'lost'] };

t.test('the ranks of a gang start together over several nodes, or not at all', (t) => {
  const cluster = new Scenario()
    .join('a')
    .join('b')
    .submit(oneStep({ array: '0-1' }));
  t.strictSame(placed(cluster.submit(gang(7))), [], 'six CPUs are free');
  cluster.exits('j1.0#1');
  t.same(
    placed(cluster).map(([id]) => id),
    [0, 1, 2, 3, 4, 5, 6].map((rank) => `j2.${rank}#1`),
  );
  t.equal(cluster.view.index.usage('a' as never).live.size + cluster.view.index.usage('b' as never).live.size, 8);
  t.end();
});

t.test('a waiting gang says how many of its ranks would fit', (t) => {
  const cluster = new Scenario()
    .join('a')
    .join('b')
    .submit(oneStep({ array: '0-4' }))
    .submit(gang(4));
  const why = () => {
    const job = cluster.job('j2');
    const step = job?.steps.get('main');
    return job && step && explainStep(cluster.view, { job, step }, { limits: NO_LIMITS, now: cluster.clock.now() });
  };
  t.match(why(), {
    code: 'capacity',
    message: 'needs room for 4 ranks at once, 3 would fit now',
    details: { ranks: 4, fitting: 3, possible: 8 },
  });
  cluster.when({ type: 'cordonNode', nodeId: 'b' as never, reason: 'fan', by: 'op' });
  t.match(why(), { code: 'capacity', details: { fitting: 0, possible: 4 } });
  cluster.when({ type: 'cordonNode', nodeId: 'a' as never, reason: 'fan', by: 'op' });
  t.match(why(), { code: 'unavailable' });
  t.end();
});

t.test('each rank is told its rank, the size and where its peers are', (t) => {
  const at = (address: string) => ({ inventory: anInventory({ address }) });
  const cluster = new Scenario().join('a', at('10.0.0.1')).join('b', at('10.0.0.2'));
  cluster.submit(gang(5, { array: '3,5,7,9,11' }));
  const orders = ordersOf(cluster.view);
  const order = (index: number) => orders.startOrder(`j1.${index}#1` as AllocationId);
  t.match(order(3)?.gang, { rank: 0, size: 5, peers: [...Array(4).fill('10.0.0.1'), '10.0.0.2'] });
  t.match(order(11)?.gang, { rank: 4, size: 5 });
  t.equal(ordersOf(cluster.submit(oneStep()).view).startOrder('j2.0#1' as AllocationId)?.gang, undefined);
  t.end();
});

t.test('a lost rank stops its peers and requeues the gang once', (t) => {
  const cluster = new Scenario().join('a').join('b').submit(gang(6));
  for (const rank of [0, 1, 2, 3, 4, 5]) cluster.reports(`j1.${rank}#1`, 'running');
  cluster.when({ type: 'agentSilent', nodeId: 'a' as never }).after(LEASE_MS);
  t.strictSame(stopped(cluster).sort(), ['j1.1#1', 'j1.2#1', 'j1.3#1', 'j1.4#1', 'j1.5#1']);
  t.strictSame(requeued(cluster), [], 'not while two ranks still run');
  cluster.reports('j1.4#1', 'ended', { kind: 'stopped', reason: 'gang', ranMs: 5 });
  t.strictSame(requeued(cluster), []);
  cluster.reports('j1.5#1', 'ended', { kind: 'exited', exitCode: 1, ranMs: 5 });
  t.strictSame(
    requeued(cluster),
    [0, 1, 2, 3, 4, 5].map((rank) => [rank, 2, 1]),
    'one attempt is spent, whatever the peers made of it',
  );
  cluster.after(SPEC_DEFAULTS.retry.backoffMs);
  t.strictSame(placed(cluster), [], 'four CPUs are left');
  cluster.join('c');
  t.strictSame(
    placed(cluster)
      .map(([id]) => id)
      .sort(),
    [0, 1, 2, 3, 4, 5].map((rank) => `j1.${rank}#2`),
  );
  t.end();
});

t.test('a rank that fails ends the gang; those that had succeeded have', (t) => {
  const cluster = new Scenario().join('a').submit(gang(3)).exits('j1.0#1');
  t.strictSame(cluster.types(), ['allocation.ended'], 'a rank that is done waits for its peers');
  cluster.exits('j1.1#1', 3);
  t.strictSame(stopped(cluster), ['j1.2#1']);
  cluster.reports('j1.2#1', 'ended', { kind: 'stopped', reason: 'gang', ranMs: 5 });
  t.match(
    cluster.all('task.finished').map(({ outcome }) => outcome),
    [
      { kind: 'succeeded' },
      { kind: 'failed', end: { kind: 'exited', exitCode: 3 } },
      { kind: 'failed', end: { kind: 'exited', exitCode: 3 } },
    ],
    'the others fail of the same end',
  );
  t.equal(cluster.job('j1')?.phase.kind, 'finished');
  t.end();
});

t.test('a gang that may be tried again runs all of its ranks again, also those that had succeeded', (t) => {
  const cluster = new Scenario()
    .join('a')
    .submit(gang(2, { retry: retrying }))
    .exits('j1.0#1')
    .exits('j1.1#1', 1);
  t.strictSame(requeued(cluster), [
    [0, 2, 1],
    [1, 2, 1],
  ]);
  t.strictSame(
    placed(cluster).map(([id]) => id),
    ['j1.0#2', 'j1.1#2'],
  );
  cluster.exits('j1.0#2').exits('j1.1#2');
  t.match(cluster.job('j1')?.phase, { kind: 'finished', outcome: 'succeeded' });
  t.end();
});

t.test('a drained rank takes its gang along, and spends no attempt', (t) => {
  const cluster = new Scenario().join('a').join('b').submit(gang(6));
  cluster.when({ type: 'drainNode', nodeId: 'b' as never, reason: 'repair', deadlineMs: 0, by: 'op' });
  t.strictSame(stopped(cluster), ['j1.4#1', 'j1.5#1']);
  cluster.reports('j1.4#1', 'ended', { kind: 'stopped', reason: 'drained', ranMs: 1 });
  t.equal(stopped(cluster).length, 4);
  cluster.reports('j1.5#1', 'ended', { kind: 'stopped', reason: 'drained', ranMs: 1 });
  for (const rank of [0, 1, 2, 3])
    cluster.reports(`j1.${rank}#1`, 'ended', { kind: 'stopped', reason: 'gang', ranMs: 1 });
  t.strictSame(
    requeued(cluster),
    [0, 1, 2, 3, 4, 5].map((rank) => [rank, 2, 0]),
  );
  t.end();
});

t.test('canceling a gang ends it; nothing of it is tried again', (t) => {
  const cluster = new Scenario()
    .join('a')
    .submit(gang(2, { retry: retrying }))
    .cancel('j1');
  for (const rank of [0, 1])
    cluster.reports(`j1.${rank}#1`, 'ended', { kind: 'stopped', reason: 'canceled', ranMs: 1 });
  t.match(cluster.job('j1')?.phase, { kind: 'finished', outcome: 'canceled' });
  t.end();
});

t.test('an agent that comes back without one rank and with another is believed, and the gang is stopped', (t) => {
  const cluster = new Scenario().join('a').submit(gang(2)).reports('j1.0#1', 'preparing');
  cluster.when({ type: 'agentSilent', nodeId: 'a' as never });
  cluster.join('a', {
    instance: 'second',
    held: [{ allocationId: 'j1.1#1' as AllocationId, phase: 'running', ageMs: 5, startedAgeMs: 5 }],
  });
  t.strictSame(stopped(cluster), ['j1.1#1']);
  t.end();
});

t.test('what no nodes, quota or licences could ever start together is refused by name', (t) => {
  const cluster = new Scenario().join('a').join('b');
  t.match(cluster.submit(gang(9)).reply, {
    refused: 'impossible-resources',
    detail: /gang of step "main": it has 9 ranks, and all nodes together hold 8 such tasks even when empty/,
    problems: [{ field: 'steps[0].gang' }],
  });
  t.match(cluster.submit(gang(9, {}, { allowFutureNodes: true })).reply, { kind: 'job' });
  const devices = { inventory: anInventory({ gpus: gpus(3) }) };
  const withGpus = new Scenario().join('g', devices).join('h', devices);
  const pairs = { resources: { gpus: { count: 2, model: null, minMemoryMiB: null } } };
  t.match(withGpus.submit(gang(3, pairs)).reply, { detail: /hold 2 such tasks/ }, 'a device of each node is left over');
  const limits = {
    ...NO_LIMITS,
    users: new Map([['tester', { cpuMillis: 3_000 }]]),
    licences: new Map([['matlab', 3]]),
  };
  const limited = new Scenario({ limits }).join('a');
  t.match(limited.submit(gang(4)).reply, {
    detail: /no gang of step "main" could ever start: it needs 4 CPUs, the quota/,
  });
  t.match(limited.submit(gang(2, { resources: { licences: { matlab: 2 } } })).reply, {
    detail: /it needs 4 licences "matlab", the cluster has 3/,
  });
  t.end();
});

t.test('a gang of somebody who has had enough is not placed again in the same plan', (t) => {
  const cluster = new Scenario().submitAs('ann', gang(2)).submitAs('bob', oneStep({ array: '0-1' }));
  cluster.join('a', { inventory: anInventory({ capacity: { cpuMillis: 64_000, memoryMiB: 65_536, diskMiB: 0 } }) });
  t.strictSame(placed(cluster).length, 4);
  t.end();
});

const inputs = fc.array(
  fc.record({
    size: fc.integer({ min: 1, max: 6 }),
    cpus: fc.integer({ min: 1, max: 4 }),
    priority: fc.integer({ min: 0, max: 2 }),
    isGang: fc.boolean(),
    fails: fc.boolean(),
  }),
  { minLength: 1, maxLength: 8 },
);

t.test('a gang is whole or absent, whatever happens, and nothing waits for ever', (t) => {
  fc.assert(
    fc.property(inputs, fc.integer({ min: 1, max: 9 }), (jobs, step) => {
      const cluster = new Scenario().join('a').join('b').join('c');
      for (const { size, cpus, priority, isGang } of jobs) {
        const resources = { cpuMillis: cpus * 1_000 };
        const retry = retrying;
        cluster.submit(
          (isGang ? gang : (n: number, p: object, j: object) => oneStep({ array: `0-${n - 1}`, ...p }, j))(
            size,
            { resources, retry },
            { priority },
          ),
        );
        checkWhole(cluster);
      }
      for (let turn = 0; turn < 200; turn += 1) {
        const live = [...cluster.view.allocations.values()].filter(({ phase }) => phase.kind !== 'ended');
        if (live.length === 0) break;
        const next = live[(turn * step) % live.length];
        if (!next) throw new Error('no live allocation');
        const fails = jobs[Number(next.ref.jobId.slice(1)) - 1]?.fails && next.ref.attempt === 1;
        if (next.phase.kind === 'stopping')
          cluster.reports(next.id, 'ended', { kind: 'stopped', reason: next.phase.reason, ranMs: 1 });
        else cluster.exits(next.id, fails ? 1 : 0);
        checkWhole(cluster);
      }
      const open = [...cluster.view.jobs.values()].filter(({ phase }) => phase.kind !== 'finished');
      if (open.length > 0) throw new Error(`${open.map(({ id }) => id)} never finished`);
    }),
    { numRuns: 150, seed: 23 },
  );
  t.pass('150 random queues');
  t.end();
});

/** Of a gang's newest round either all ranks were placed or none. */
function checkWhole(cluster: Scenario): void {
  for (const job of cluster.view.jobs.values()) {
    for (const { spec, counts, count } of job.steps.values()) {
      if (spec.gang && counts.placed !== 0 && counts.placed !== count)
        throw new Error(`${job.id}: ${counts.placed} of ${count}`);
    }
  }
}
