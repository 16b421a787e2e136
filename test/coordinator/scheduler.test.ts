import fc from 'fast-check';
import t from 'tap';
import { ordersOf } from '../../coordinator/engine/orders.js';
import { ClassTable } from '../../coordinator/model/demand.js';
import { obstacleTo } from '../../coordinator/model/feasible.js';
import { explainStep } from '../../coordinator/scheduler/explain.js';
import { DEFAULT_PLAN_POLICY, plan } from '../../coordinator/scheduler/plan.js';
import type { AllocationId, NodeId } from '../../shared/ids.js';
import type { Constraint } from '../../shared/job-spec/spec.js';
import { NO_LIMITS } from '../../shared/limits.js';
import { aJob, anInventory, aStep, gpus, oneStep } from '../kit/builders.js';
import { Scenario } from '../kit/scenario.js';

function placements(cluster: Scenario): [string, string, readonly number[]][] {
  return cluster.all('allocation.committed').map((event) => [event.allocationId, event.nodeId, event.gpus]);
}

function whyWaiting(cluster: Scenario, jobId: string, step = 'main') {
  const job = cluster.job(jobId);
  const found = job?.steps.get(step);
  return job && found
    ? explainStep(cluster.view, { job, step: found }, { limits: NO_LIMITS, now: cluster.clock.now() })
    : undefined;
}

t.test('the fullest node that still fits is filled first', (t) => {
  const cluster = new Scenario().join('a').join('b');
  t.strictSame(placements(cluster.submit(oneStep({ array: '0-4' }))), [
    ['j1.0#1', 'a', []],
    ['j1.1#1', 'a', []],
    ['j1.2#1', 'a', []],
    ['j1.3#1', 'a', []],
    ['j1.4#1', 'b', []],
  ]);
  t.strictSame(placements(cluster.submit(oneStep({}))), [['j2.0#1', 'b', []]]);
  t.end();
});

t.test('higher priority goes first, then the older job; a smaller task may pass one that does not fit', (t) => {
  const cluster = new Scenario().join('n1').submit(oneStep({ resources: { cpuMillis: 3_000 } }));
  cluster.submit(oneStep({ resources: { cpuMillis: 2_000 } }));
  t.strictSame(placements(cluster), [], 'two CPUs do not fit beside three');
  cluster.submit(oneStep({ resources: { cpuMillis: 3_000 } }, { priority: 10 }));
  t.strictSame(placements(cluster.submit(oneStep({}))), [['j4.0#1', 'n1', []]], 'there is room for it beside either');
  cluster.exits('j1.0#1');
  t.strictSame(placements(cluster), [['j3.0#1', 'n1', []]]);
  cluster.exits('j3.0#1');
  t.strictSame(placements(cluster), [['j2.0#1', 'n1', []]]);
  t.end();
});

t.test('small tasks without time limits do not starve a large one', (t) => {
  const cluster = new Scenario().join('n1').submit(oneStep({ array: '0-3' }));
  cluster.submit(oneStep({ resources: { cpuMillis: 4_000 } })).submit(oneStep({ array: '0-9' }));
  for (const index of [0, 1, 2]) {
    t.strictSame(placements(cluster.exits(`j1.${index}#1`)), [], 'what becomes free is kept');
    t.match(whyWaiting(cluster, 'j3'), {
      code: 'reservation',
      message: 'would delay j2, which starts on n1 when enough of what runs there has ended',
    });
  }
  t.strictSame(placements(cluster.exits('j1.3#1')), [['j2.0#1', 'n1', []]]);
  t.end();
});

t.test('GPUs are whole devices, named in the placement, the smallest that satisfy, and given back', (t) => {
  const mixed = [...gpus(2), { index: 2, uuid: 'GPU-2', model: 'NVIDIA T4', memoryMiB: 16_384 }];
  const gpuStep = (parts: object) =>
    oneStep({ resources: { gpus: { count: 1, model: null, minMemoryMiB: null, ...parts } } });
  const cluster = new Scenario().join('g', { inventory: anInventory({ gpus: mixed }) }).join('plain');
  t.strictSame(placements(cluster.submit(gpuStep({}))), [['j1.0#1', 'g', [2]]], 'the T4 will do');
  t.strictSame(placements(cluster.submit(gpuStep({ model: 'a100' }))), [['j2.0#1', 'g', [0]]]);
  t.strictSame(placements(cluster.submit(gpuStep({ minMemoryMiB: 40_000 }))), [['j3.0#1', 'g', [1]]]);
  cluster.submit(gpuStep({ minMemoryMiB: 40_000 }));
  const message = 'waits for 1 GPU with 40000MiB or more (0 free) on g';
  t.match(whyWaiting(cluster, 'j4'), { code: 'capacity', message });
  t.strictSame(placements(cluster.exits('j2.0#1')), [['j4.0#1', 'g', [0]]]);
  t.match(cluster.submit(gpuStep({ count: 4 })).reply, { refused: 'impossible-resources' });
  t.end();
});

t.test('a GPU is shared by share and by memory, and the fullest device that has room is taken', (t) => {
  const inventory = anInventory({ gpus: [...gpus(2), { index: 2, uuid: 'T', model: 'T4', memoryMiB: 16_384 }] });
  const cluster = new Scenario().join('g', { inventory });
  const shared = (parts: object) =>
    oneStep({ resources: { cpuMillis: 100, gpus: { count: 1, model: 'a100', minMemoryMiB: null, ...parts } } });
  t.strictSame(placements(cluster.submit(shared({ shareMillis: 600 }))), [['j1.0#1', 'g', [0]]]);
  t.strictSame(placements(cluster.submit(shared({ shareMillis: 500 }))), [['j2.0#1', 'g', [1]]]);
  t.strictSame(placements(cluster.submit(shared({ memoryMiB: 32_768 }))), [['j3.0#1', 'g', [0]]], '400 of 1000');
  t.strictSame(placements(cluster.submit(shared({ shareMillis: 501 }))), []);
  const message = 'waits for 0.501 of a GPU of model a100 (at most 0.5 of one is free) on g';
  t.match(whyWaiting(cluster, 'j4'), { code: 'capacity', message });
  const part = { shareMillis: 400, memoryMiB: 32_768 };
  t.match(ordersOf(cluster.view).startOrder('j3.0#1' as AllocationId), { gpus: [{ index: 0 }], gpuPart: part });
  t.strictSame(placements(cluster.exits('j2.0#1')), [['j4.0#1', 'g', [1]]]);
  t.match(cluster.submit(shared({ memoryMiB: 90_000 })).reply, { refused: 'impossible-resources' });
  t.end();
});

t.test('a task without GPUs leaves a GPU node alone while another has room', (t) => {
  const cluster = new Scenario().join('a', { inventory: anInventory({ gpus: gpus(1) }) }).join('b');
  t.strictSame(placements(cluster.submit(aJob())), [['j1.0#1', 'b', []]]);
  t.end();
});

t.test('constraints read labels and attributes', (t) => {
  const inventory = anInventory({ labels: { zone: 'eu', ssd: 'yes' }, attributes: { arch: 'x64' } });
  const nodeClass = new ClassTable().nodeClassOf(inventory);
  const rows: [Constraint, boolean][] = [
    [{ key: 'label:zone', op: 'in', values: ['eu', 'us'] }, true],
    [{ key: 'label:zone', op: 'in', values: ['us'] }, false],
    [{ key: 'label:zone', op: 'not-in', values: ['us'] }, true],
    [{ key: 'label:zone', op: 'not-in', values: ['eu'] }, false],
    [{ key: 'label:ssd', op: 'exists', values: [] }, true],
    [{ key: 'label:spot', op: 'exists', values: [] }, false],
    [{ key: 'label:spot', op: 'absent', values: [] }, true],
    [{ key: 'label:ssd', op: 'absent', values: [] }, false],
    [{ key: 'label:rack', op: 'not-in', values: ['7'] }, true],
    [{ key: 'arch', op: 'in', values: ['x64'] }, true],
    [{ key: 'arch', op: 'in', values: ['arm64'] }, false],
  ];
  for (const [constraint, isMet] of rows) {
    const demand = new ClassTable().demandOf(aStep({ constraints: [constraint] }));
    t.equal(obstacleTo(demand, nodeClass) === undefined, isMet, JSON.stringify(constraint));
  }
  t.end();
});

t.test('every waiting task has a stated reason', (t) => {
  const n1 = 'n1' as NodeId;
  const cluster = new Scenario().submit(aJob());
  t.match(whyWaiting(cluster, 'j1'), { code: 'no-nodes' });
  cluster.join('n1').submit(aJob({ hold: true }));
  t.match(whyWaiting(cluster, 'j2'), { code: 'held', message: /berth release j2/ });
  cluster.submit(aJob({ steps: [aStep({ name: 'a' }), aStep({ name: 'b', needs: ['a'] })] }));
  t.match(whyWaiting(cluster, 'j3', 'b'), { code: 'needs', message: 'waits for step a' });
  cluster.submit(oneStep({ resources: { memoryMiB: 8_000 } }));
  t.match(whyWaiting(cluster, 'j4'), { code: 'capacity', message: 'waits for 8000MiB of memory (7GiB free) on n1' });
  const again = { maxAttempts: 2, backoffMs: 9_000, on: ['exited'] as const };
  cluster.submit(oneStep({ retry: again }, { priority: 1 })).exits('j5.0#1', 1);
  t.match(whyWaiting(cluster, 'j5'), { code: 'backoff', message: 'retries in 9 s' });
  cluster.when({ type: 'cordonNode', nodeId: n1, reason: 'fan', by: 'tester' });
  t.match(whyWaiting(cluster, 'j4'), { code: 'unavailable', message: 'no fitting node is ready: n1 is cordoned' });
  cluster.submit(oneStep({ resources: { cpuMillis: 9_000 } }, { allowFutureNodes: true }));
  t.match(whyWaiting(cluster, 'j6'), {
    code: 'no-match',
    message: 'no node could hold it: n1: needs 9 CPUs, it has 4',
  });
  t.equal(whyWaiting(cluster, 'j1'), undefined, 'a placed task does not wait');
  t.end();
});

const smallJob = fc.record({
  cpuMillis: fc.integer({ min: 100, max: 5_000 }),
  memoryMiB: fc.integer({ min: 64, max: 9_000 }),
  gpuCount: fc.integer({ min: 0, max: 3 }),
  part: fc.oneof(
    fc.constant({}),
    fc.record({ shareMillis: fc.integer({ min: 1, max: 999 }) }),
    fc.record({ memoryMiB: fc.integer({ min: 1, max: 81_920 }) }),
  ),
  taskCount: fc.integer({ min: 1, max: 6 }),
  priority: fc.integer({ min: -2, max: 2 }),
});

type SmallJob = typeof smallJob extends fc.Arbitrary<infer Job> ? Job : never;

function fill(jobs: readonly SmallJob[]): Scenario {
  const cluster = new Scenario();
  for (const { cpuMillis, memoryMiB, gpuCount, part, taskCount, priority } of jobs) {
    const count = 'shareMillis' in part ? Math.min(gpuCount, 1) : gpuCount;
    const gpus = count === 0 ? null : { count, model: null, minMemoryMiB: null, ...part };
    cluster.submit(oneStep({ array: `0-${taskCount - 1}`, resources: { cpuMillis, memoryMiB, gpus } }, { priority }));
  }
  return cluster;
}

t.test('no plan oversubscribes, and what waits really does not fit', (t) => {
  fc.assert(
    fc.property(fc.array(smallJob, { minLength: 1, maxLength: 8 }), (jobs) => {
      // The scenario recomputes the invariants after every input, oversubscription among them.
      const cluster = fill(jobs)
        .join('a', { inventory: anInventory({ gpus: gpus(2) }) })
        .join('b');
      for (const job of cluster.view.jobs.values()) {
        const step = job.steps.get('main');
        const why = step && explainStep(cluster.view, { job, step }, { limits: NO_LIMITS, now: cluster.clock.now() });
        if (why?.code === 'starting') throw new Error(`${job.id} fits and was not placed`);
      }
    }),
    { numRuns: 60, seed: 7 },
  );
  t.pass('60 random queues');
  t.end();
});

t.test('the plan does not depend on the order in which nodes joined', (t) => {
  fc.assert(
    fc.property(fc.array(smallJob, { minLength: 1, maxLength: 6 }), (jobs) => {
      const plans = [
        ['a', 'b', 'c'],
        ['c', 'a', 'b'],
      ].map((names) => {
        const cluster = new Scenario();
        for (const name of names) cluster.join(name);
        for (const name of names) cluster.when({ type: 'cordonNode', nodeId: name as NodeId, reason: 'x', by: 't' });
        for (const { cpuMillis, memoryMiB, taskCount, priority } of jobs) {
          const spec = oneStep(
            { array: `0-${taskCount - 1}`, resources: { cpuMillis, memoryMiB } },
            { priority, allowFutureNodes: true },
          );
          cluster.submit(spec);
        }
        const nodes = new Map(
          [...cluster.view.nodes].map(([id, node]) => [id, { ...node, intake: { kind: 'open' } as const }]),
        );
        return JSON.stringify(plan({ ...cluster.view, nodes }, DEFAULT_PLAN_POLICY, cluster.clock.now()));
      });
      if (plans[0] !== plans[1]) throw new Error(`${plans[0]} differs from ${plans[1]}`);
    }),
    { numRuns: 40, seed: 11 },
  );
  t.pass('40 random queues');
  t.end();
});
