import fc from 'fast-check';
import t from 'tap';
import { ordersOf } from '../../coordinator/engine/orders.js';
import { explainStep } from '../../coordinator/scheduler/explain.js';
import { DEFAULT_PLAN_POLICY } from '../../coordinator/scheduler/plan.js';
import { predictStart } from '../../coordinator/scheduler/predict.js';
import { rehearse } from '../../coordinator/scheduler/rehearse.js';
import { ImmediatePricing } from '../../coordinator/scheduler/worth/pricing.js';
import { presentNode } from '../../coordinator/service/present-node.js';
import type { AllocationId } from '../../shared/ids.js';
import { type Limits, NO_LIMITS } from '../../shared/limits.js';
import { anInventory, aStep, gpus, oneStep } from '../kit/builders.js';
import { Scenario } from '../kit/scenario.js';

type Parts = NonNullable<Parameters<typeof oneStep>[0]>;

const pricing = new ImmediatePricing();
const MINUTE_MS = 60_000;
const stop = { signal: 'SIGTERM', graceMs: 0 };
const alone = (parts: Parts = {}) => oneStep({ exclusive: true, ...parts });
const ofSize = (cpus: number, gibibytes: number, gpuCount = 0) => ({
  inventory: anInventory({
    capacity: { cpuMillis: cpus * 1_000, memoryMiB: gibibytes * 1_024, diskMiB: 0 },
    gpus: gpus(gpuCount),
  }),
});

const placed = (cluster: Scenario): string[] =>
  cluster.all('allocation.committed').map(({ allocationId, nodeId }) => `${allocationId} ${nodeId}`);

function place(cluster: Scenario, jobId: string) {
  const job = cluster.job(jobId);
  const step = job?.steps.get('main');
  if (!job || !step) throw new Error(`no job ${jobId}`);
  return { job, step };
}

function why(cluster: Scenario, jobId: string, limits: Limits = NO_LIMITS) {
  return explainStep(cluster.view, place(cluster, jobId), { limits, now: cluster.clock.now() });
}

t.test('a task with a node to itself holds, and is told of, all of it', (t) => {
  const cluster = new Scenario().join('n1', ofSize(16, 64, 2)).submit(alone());
  t.match(cluster.allocation('j1.0#1'), {
    resources: { cpuMillis: 16_000, memoryMiB: 65_536, diskMiB: 0 },
    gpus: [0, 1],
  });
  t.match(ordersOf(cluster.view).startOrder('j1.0#1' as AllocationId), {
    resources: { cpuMillis: 16_000, memoryMiB: 65_536 },
    gpus: [{ index: 0 }, { index: 1 }],
    gpuPart: null,
  });
  const { running } = cluster.view.index.accounts.namespace('default');
  t.strictSame(running, { cpuMillis: 16_000, memoryMiB: 65_536, gpuMillis: 2_000, taskCount: 1 });
  t.strictSame(placed(cluster.submit(oneStep({ resources: { cpuMillis: 1 } }))), [], 'nothing beside it');
  t.match(why(cluster, 'j2'), { code: 'capacity', message: 'waits for room on n1, which j1.0#1 has to itself' });
  t.strictSame(placed(cluster.exits('j1.0#1')), ['j2.0#1 n1']);
  t.strictSame(placed(cluster.submit(alone())), [], 'nor it beside anything');
  t.match(why(cluster, 'j3'), {
    code: 'capacity',
    message: 'waits for a node to itself: n1 runs 1 task',
    details: { nodeClasses: [{ example: 'n1', dimension: 'node', message: 'needs a node to itself' }] },
  });
  t.strictSame(placed(cluster.exits('j2.0#1')), ['j3.0#1 n1']);
  t.end();
});

t.test('it takes the smallest node that has what it asks for, and one without GPUs before one with them', (t) => {
  const cluster = new Scenario();
  for (const [name, node] of [
    ['a', ofSize(64, 256)],
    ['b', ofSize(8, 32, 1)],
    ['c', ofSize(8, 32)],
    ['d', ofSize(32, 64)],
    ['e', ofSize(64, 64, 1)],
  ] as const)
    cluster.join(name, node);
  const order = placed(cluster.submit(alone({ array: '0-5', resources: { cpuMillis: 4_000 } })));
  t.strictSame(order, ['j1.0#1 c', 'j1.1#1 d', 'j1.2#1 a', 'j1.3#1 b', 'j1.4#1 e']);
  cluster.exits('j1.0#1');
  t.match(why(cluster, 'j1'), undefined, 'the sixth follows');
  t.match(cluster.submit(alone({ resources: { cpuMillis: 65_000 } })).reply, { refused: 'impossible-resources' });
  cluster.submit(alone());
  t.match(why(cluster, 'j2'), {
    message: 'waits for a node to itself: none of the 5 that fit is empty, a runs 1 task',
  });
  t.end();
});

t.test('devices out of use are not given away with the node', (t) => {
  const [sound, broken] = gpus(2);
  const devices = [sound, broken && { ...broken, fault: 'Xid 79' }].filter((device) => device !== undefined);
  const cluster = new Scenario().join('n1', { inventory: anInventory({ gpus: devices }) }).submit(alone());
  t.match(cluster.allocation('j1.0#1'), { gpus: [0] });
  t.end();
});

t.test("a node that comes back larger is still the task's own", (t) => {
  const cluster = new Scenario({ isChecked: false }).join('n1', ofSize(4, 8)).submit(alone()).submit(oneStep({}));
  const larger = ofSize(8, 16, 1);
  cluster.join('n1', { ...larger, held: [{ allocationId: 'j1.0#1' as AllocationId, phase: 'running', ageMs: 0 }] });
  t.strictSame(placed(cluster), []);
  const node = cluster.node('n1');
  t.match(node && presentNode(cluster.view, node, undefined).free, { cpuMillis: 0, memoryMiB: 0 });
  t.strictSame(placed(cluster.exits('j1.0#1')), ['j2.0#1 n1']);
  t.end();
});

t.test('its reservation is for the moment at which a node is empty, and nothing may run beside it', (t) => {
  const cluster = new Scenario().join('n1', ofSize(4, 8)).join('n2', ofSize(4, 8));
  const run = (minutes: number, parts: Parts = {}) =>
    cluster.submit(oneStep({ timeLimitMs: minutes * MINUTE_MS, stop, ...parts }));
  run(30, { resources: { cpuMillis: 3_000 } }).reports('j1.0#1', 'running');
  run(10, { resources: { cpuMillis: 3_000 } }).reports('j2.0#1', 'running');
  run(5, { exclusive: true });
  const now = cluster.clock.now();
  const policy = { limits: NO_LIMITS, now };
  t.match(predictStart(cluster.view, place(cluster, 'j3'), policy), {
    ground: 'reservation',
    startAt: now + 10 * MINUTE_MS,
    nodeId: 'n2',
  });
  t.strictSame(placed(run(20, { array: '0-1' })), ['j4.0#1 n1'], 'n2 is kept from what would still run then');
  t.strictSame(placed(run(9, { array: '0-1' })), ['j5.0#1 n2'], 'but not from what is gone by then');
  t.end();
});

t.test('all of the node counts against a quota, and why says so', (t) => {
  const limits = { ...NO_LIMITS, users: new Map([['*', { cpuMillis: 8_000 }]]) };
  const cluster = new Scenario({ limits }).join('n1', ofSize(16, 64)).submit(alone());
  t.strictSame(placed(cluster), []);
  t.match(why(cluster, 'j1', limits), {
    code: 'quota',
    message: 'waits for the quota of user tester: needs 16 CPUs, 0 of 8 are in use',
  });
  cluster.join('n2', ofSize(8, 8));
  t.strictSame(placed(cluster), ['j1.0#1 n2']);
  const job = { spec: alone(), by: 'other' };
  const policy = { ...DEFAULT_PLAN_POLICY, limits };
  const [step] = rehearse(cluster.view, job, { policy, pricing, now: cluster.clock.now() });
  t.match(step, { placed: new Map(), reason: { code: 'quota' } });
  t.end();
});

t.test('a rehearsal gives one node to each task', (t) => {
  const cluster = new Scenario().join('n1', ofSize(4, 8)).join('n2', ofSize(4, 8));
  const job = { spec: oneStep({ ...aStep(), exclusive: true, array: '0-4' }), by: 'tester' };
  const [step] = rehearse(cluster.view, job, { policy: DEFAULT_PLAN_POLICY, pricing, now: cluster.clock.now() });
  t.match(step, {
    placed: new Map([
      ['n1', 1],
      ['n2', 1],
    ]),
    reason: {
      message: 'waits for a node to itself: none of the 2 that fit is empty, n1 would hold another of its tasks',
    },
  });
  t.end();
});

t.test('whatever comes and goes, an exclusive task is alone, and starts when a node that fits is empty', (t) => {
  const anyJob = fc.record({
    cpus: fc.integer({ min: 1, max: 8 }),
    gpuCount: fc.integer({ min: 0, max: 2 }),
    isAlone: fc.boolean(),
    tasks: fc.integer({ min: 1, max: 3 }),
    ended: fc.nat(),
  });
  fc.assert(
    fc.property(fc.array(anyJob, { minLength: 2, maxLength: 12 }), (jobs) => {
      const cluster = new Scenario()
        .join('a', ofSize(4, 8))
        .join('b', ofSize(8, 8, 2))
        .join('c', ofSize(8, 16));
      for (const { cpus, gpuCount, isAlone, tasks, ended } of jobs) {
        const wanted = gpuCount === 0 ? null : { count: gpuCount, model: null, minMemoryMiB: null };
        const resources = { cpuMillis: cpus * 1_000, gpus: wanted };
        cluster.submit(oneStep({ array: `0-${tasks - 1}`, resources, ...(isAlone ? { exclusive: true } : {}) }));
        const live = [...cluster.view.allocations.values()].filter(({ phase }) => phase.kind !== 'ended');
        const last = live[ended % Math.max(1, live.length)];
        if (last && ended % 2 === 0) cluster.exits(last.id);
        for (const id of cluster.view.jobs.keys())
          if (why(cluster, id)?.code === 'starting') throw new Error(`${id} could go and waits`);
      }
    }),
    { numRuns: 80, seed: 41 },
  );
  t.pass('80 random queues; the invariants are checked after each input');
  t.end();
});
