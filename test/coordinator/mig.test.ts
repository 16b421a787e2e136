import fc from 'fast-check';
import t from 'tap';
import { explainStep } from '../../coordinator/scheduler/explain.js';
import { gpuMix, strandedGpus } from '../../coordinator/scheduler/fragmentation.js';
import type { GpuSpec } from '../../shared/job-spec/spec.js';
import { type Limits, NO_LIMITS } from '../../shared/limits.js';
import { type GpuDevice, gpuWorthMillis } from '../../shared/resources.js';
import { anInventory, gpus, oneStep } from '../kit/builders.js';
import { Scenario } from '../kit/scenario.js';

/** Slices of one profile, with indexes from `first` on. */
function slices(profile: string, count: number, first = 0): GpuDevice[] {
  return Array.from({ length: count }, (_, position) => ({
    index: first + position,
    uuid: `MIG-${first + position}`,
    model: 'NVIDIA A100-SXM4-40GB',
    memoryMiB: 4_864,
    mig: profile,
  }));
}

const asking = (parts: Partial<GpuSpec>, array = '0') =>
  oneStep({ array, resources: { cpuMillis: 100, gpus: { count: 1, model: null, minMemoryMiB: null, ...parts } } });

function why(cluster: Scenario, jobId: string, limits: Limits = NO_LIMITS) {
  const job = cluster.job(jobId);
  const step = job?.steps.get('main');
  return job && step && explainStep(cluster.view, { job, step }, { limits, now: cluster.clock.now() });
}

const placed = (cluster: Scenario): (readonly [string, readonly number[]])[] =>
  cluster.all('allocation.committed').map(({ allocationId, gpus }) => [allocationId, gpus] as const);

t.test('a slice goes to who asks for its profile, and to nobody else', (t) => {
  const inventory = anInventory({ gpus: [...gpus(1), ...slices('1g.5gb', 2, 1), ...slices('2g.10gb', 1, 3)] });
  const cluster = new Scenario().join('g', { inventory });
  t.strictSame(placed(cluster.submit(asking({ mig: '1g.5gb', count: 2 }))), [['j1.0#1', [1, 2]]]);
  t.strictSame(placed(cluster.submit(asking({}))), [['j2.0#1', [0]]]);
  t.strictSame(placed(cluster.submit(asking({ shareMillis: 100 }))), [], 'a share is of a GPU, not of a slice');
  t.strictSame(placed(cluster.submit(asking({ mig: '2g.10gb', model: 'a100' }))), [['j4.0#1', [3]]]);
  cluster.submit(asking({ mig: '1g.5gb' }));
  t.match(why(cluster, 'j5'), { code: 'capacity', message: 'waits for 1 MIG slice 1g.5gb (0 free) on g' });
  t.strictSame(placed(cluster.exits('j1.0#1')), [['j5.0#1', [1]]]);
  const refused = cluster.submit(asking({ mig: '3g.20gb' })).reply;
  t.match(refused, {
    refused: 'impossible-resources',
    detail:
      /g: needs 1 MIG slice 3g\.20gb, it has 1 x NVIDIA A100-SXM4-80GB, 2 x MIG 1g\.5gb of NVIDIA A100-SXM4-40GB, 1 x MIG 2g/,
  });
  t.end();
});

t.test('a device that is out of use takes nothing, and a job waits for it to come back', (t) => {
  const [first, second] = gpus(2);
  const broken = second && { ...second, fault: 'Xid 79: fallen off the bus' };
  const devices = [first, broken].filter((device) => device !== undefined);
  const cluster = new Scenario().join('g', { inventory: anInventory({ gpus: devices }) });
  t.strictSame(placed(cluster.submit(asking({}, '0-1'))), [['j1.0#1', [0]]]);
  t.equal(cluster.submit(asking({ count: 2 })).refusal(), undefined, 'two there are, if both are healthy');
  t.match(why(cluster, 'j2'), {
    code: 'unavailable',
    message:
      /no fitting node is ready: g: needs 2 GPUs, it has 1 x NVIDIA A100-SXM4-80GB, 1 x NVIDIA A100-SXM4-80GB \(out of use\)$/,
  });
  t.match(cluster.submit(asking({ count: 3 })).reply, { refused: 'impossible-resources' });
  cluster.exits('j1.0#1').exits('j1.1#1');
  t.strictSame(placed(cluster.join('g', { inventory: anInventory({ gpus: gpus(2) }) })), [['j2.0#1', [0, 1]]]);
  t.end();
});

t.test('machines whose devices fail in different words are of one class', (t) => {
  const faulty = (fault: string) => anInventory({ gpus: gpus(1, { fault }) });
  const cluster = new Scenario().join('a', { inventory: faulty('Xid 79') }).join('b', { inventory: faulty('Xid 48') });
  t.equal(cluster.node('a')?.nodeClass, cluster.node('b')?.nodeClass);
  t.not(
    cluster.node('a')?.nodeClass,
    cluster.join('c', { inventory: anInventory({ gpus: gpus(1) }) }).node('c')?.nodeClass,
  );
  t.end();
});

t.test('a slice counts for its part of the seven, in quotas, shares and capacity', (t) => {
  const table: [string, number][] = [
    ['1g.5gb', 142],
    ['2g.10gb', 285],
    ['3g.20gb', 428],
    ['4g.20gb', 571],
    ['7g.40gb', 1_000],
    ['1c.3g.20gb', 142],
  ];
  for (const [mig, millis] of table) t.equal(gpuWorthMillis({ mig }), millis, mig);
  const limits = { ...NO_LIMITS, users: new Map([['*', { gpuMillis: 300 }]]) };
  const inventory = anInventory({ gpus: [...slices('1g.5gb', 4), ...gpus(1, { index: 4, fault: 'gone' })] });
  const cluster = new Scenario({ limits }).join('g', { inventory }).submit(asking({ mig: '1g.5gb' }, '0-3'));
  t.equal(cluster.view.index.accounts.capacity.gpuMillis, 4 * 142);
  t.equal(cluster.view.index.accounts.user('tester').running.gpuMillis, 2 * 142);
  t.match(why(cluster, 'j1', limits), { code: 'quota', message: /needs 0.142 GPUs, 0.284 of 0.3 are in use/ });
  t.end();
});

t.test(
  'work without GPUs goes to the node with a slice before the one with a GPU, and to neither while it can',
  (t) => {
    const with_ = (devices: GpuDevice[]) => ({ inventory: anInventory({ gpus: devices }) });
    const cluster = new Scenario()
      .join('gpu', with_(gpus(1)))
      .join('slice', with_(slices('1g.5gb', 1)))
      .join('plain');
    const nodes = (array: string): string[] =>
      cluster
        .submit(oneStep({ array, resources: { cpuMillis: 4_000 } }))
        .all('allocation.committed')
        .map(({ nodeId }) => nodeId);
    t.strictSame(nodes('0-2'), ['plain', 'slice', 'gpu']);
    t.end();
  },
);

t.test('free slices are stranded for tasks of whole GPUs, and the other way round', (t) => {
  const cluster = new Scenario().join('g', {
    inventory: anInventory({
      gpus: [...slices('1g.5gb', 2), ...gpus(2).map((gpu, at) => ({ ...gpu, index: 2 + at }))],
    }),
  });
  cluster.submit(asking({}));
  const [found] = strandedGpus(cluster.view, gpuMix(cluster.view));
  t.match(found, { freeMillis: 1_000 + 2 * 142, strandedMillis: 2 * 142, byCause: { pieces: 2 * 142 } });
  t.end();
});

t.test('no device is ever held by the wrong demand, whatever is asked of a divided node', (t) => {
  const anyDemand = fc.record({
    mig: fc.constantFrom(undefined, '1g.5gb', '2g.10gb'),
    count: fc.integer({ min: 1, max: 3 }),
    tasks: fc.integer({ min: 1, max: 4 }),
  });
  const inventory = anInventory({
    gpus: [...slices('1g.5gb', 3), ...slices('2g.10gb', 2, 3), ...gpus(1, { index: 5 })],
  });
  fc.assert(
    fc.property(fc.array(anyDemand, { minLength: 1, maxLength: 8 }), (demands) => {
      const cluster = new Scenario().join('a', { inventory }).join('b', { inventory });
      for (const { mig, count, tasks } of demands)
        cluster.submit(asking({ count, ...(mig === undefined ? {} : { mig }) }, `0-${tasks - 1}`));
      for (const { nodeId, ref, gpus: held } of cluster.view.allocations.values()) {
        const wanted = cluster.job(ref.jobId)?.steps.get('main')?.demand.gpus?.mig;
        const given = cluster.node(nodeId)?.inventory.gpus.filter(({ index }) => held.includes(index)) ?? [];
        for (const { mig } of given) if (mig !== wanted) throw new Error(`${ref.jobId} wanted ${wanted}, got ${mig}`);
      }
      for (const job of cluster.view.jobs.keys())
        if (why(cluster, job)?.code === 'starting') throw new Error(`${job} fits and was not placed`);
    }),
    { numRuns: 60, seed: 31 },
  );
  t.pass('60 random queues');
  t.end();
});
