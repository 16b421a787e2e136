import fc from 'fast-check';
import t from 'tap';
import { USAGE_HALF_LIFE_MS } from '../../coordinator/model/accounts.js';
import { restore, serialize } from '../../coordinator/model/snapshot.js';
import { orderQueue } from '../../coordinator/scheduler/order.js';
import { type Limits, NO_LIMITS } from '../../shared/limits.js';
import { anInventory, oneStep } from '../kit/builders.js';
import { Scenario } from '../kit/scenario.js';

const HOUR_MS = 60 * 60 * 1000;
const DAY_MS = 24 * HOUR_MS;

/** A node of so many CPUs, and memory for that many tasks. */
function aNodeOf(cpus: number) {
  return { inventory: anInventory({ capacity: { cpuMillis: cpus * 1_000, memoryMiB: cpus * 1_024, diskMiB: 0 } }) };
}

function byJob(cluster: Scenario): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { allocationId } of cluster.all('allocation.committed')) {
    const job = allocationId.split('.', 1)[0] ?? '';
    counts[job] = (counts[job] ?? 0) + 1;
  }
  return counts;
}

t.test('free capacity is divided between namespaces by weight, and within one between its users', (t) => {
  const limits: Limits = { ...NO_LIMITS, namespaceWeights: new Map([['big', 3]]) };
  const cluster = new Scenario({ limits });
  const many = { array: '0-99' };
  cluster.submitAs('ann', oneStep(many, { namespace: 'small' }));
  cluster.submitAs('ben', oneStep(many, { namespace: 'big' }));
  cluster.submitAs('cat', oneStep(many, { namespace: 'big' }));
  t.strictSame(byJob(cluster.join('n1', aNodeOf(16))), { j1: 4, j2: 6, j3: 6 });
  t.end();
});

t.test('priority goes before shares, and age decides between equal ones', (t) => {
  const cluster = new Scenario();
  cluster.submit(oneStep({ array: '0-9' }, { namespace: 'a' }));
  cluster.submit(oneStep({ array: '0-9' }, { namespace: 'b', priority: 1 }));
  cluster.submit(oneStep({ array: '0-9' }, { namespace: 'b' }));
  const order = [...orderQueue(cluster.view, { limits: NO_LIMITS }, cluster.clock.now())];
  t.strictSame(
    order.map(({ jobId }) => jobId),
    ['j2', 'j1', 'j3'],
  );
  t.strictSame(byJob(cluster.join('n1', aNodeOf(12))), { j2: 10, j1: 2 }, 'b holds more, so a is served next');
  t.end();
});

t.test('the share is the dominant one: memory counts against who uses memory most', (t) => {
  const cluster = new Scenario();
  cluster.submit(
    oneStep({ array: '0-99', resources: { cpuMillis: 1_000, memoryMiB: 4_096 } }, { namespace: 'memory' }),
  );
  cluster.submit(oneStep({ array: '0-99', resources: { cpuMillis: 3_000, memoryMiB: 1_024 } }, { namespace: 'cpu' }));
  cluster.join('n1', { inventory: anInventory({ capacity: { cpuMillis: 9_000, memoryMiB: 18_432, diskMiB: 0 } }) });
  // The example of the DRF paper: three tasks of the one, two of the other.
  t.strictSame(byJob(cluster), { j1: 3, j2: 2 });
  t.end();
});

t.test('who used the cluster before stands back, until a half-life has made it small', (t) => {
  const cluster = new Scenario().join('n1', aNodeOf(4));
  cluster.submit(oneStep({ array: '0-3' }, { namespace: 'before' })).after(USAGE_HALF_LIFE_MS);
  for (let index = 0; index < 4; index += 1) cluster.exits(`j1.${index}#1`);
  t.equal(cluster.view.index.accounts.namespace('before').meanAt(cluster.clock.now()).cpuMillis, 2_000);
  cluster.submit(oneStep({ array: '0-3', resources: { cpuMillis: 4_000 } }, { namespace: 'third' }));
  cluster.submit(oneStep({ array: '0-9' }, { namespace: 'before' }));
  cluster.submit(oneStep({ array: '0-9' }, { namespace: 'new' }));
  t.strictSame(
    byJob(cluster.cancel('j2').exits('j2.0#1')),
    { j4: 3, j3: 1 },
    'two behind: three to one, not four to none',
  );
  t.equal(
    cluster.view.index.accounts.namespace('before').meanAt(cluster.clock.now() + USAGE_HALF_LIFE_MS).taskCount,
    1.5,
  );
  t.end();
});

t.test('what was held is the same after a replay and after a restart, to the last bit', (t) => {
  const cluster = new Scenario().join('n1', aNodeOf(4));
  for (let round = 0; round < 6; round += 1) {
    cluster.submit(oneStep({ array: '0-2' }, { namespace: `n${round % 2}` })).after(7 * HOUR_MS + round);
    cluster.exits(`j${round + 1}.0#1`).after(13);
    cluster.exits(`j${round + 1}.1#1`).exits(`j${round + 1}.2#1`);
  }
  const restored = restore(serialize(cluster.view));
  const at = cluster.clock.now() + DAY_MS;
  for (const name of ['n0', 'n1']) {
    const { accounts } = cluster.view.index;
    t.strictSame(restored.index.accounts.namespace(name).meanAt(at), accounts.namespace(name).meanAt(at));
    t.strictSame(restored.index.accounts.member(name, 'tester').meanAt(at), accounts.member(name, 'tester').meanAt(at));
  }
  t.strictSame(restored.index.accounts.capacity, cluster.view.index.accounts.capacity);
  t.end();
});

t.test('with two namespaces that submit endlessly, long-run dominant shares converge to the weights', (t) => {
  const shape = fc.record({
    weight: fc.integer({ min: 1, max: 4 }),
    hours: fc.integer({ min: 5, max: 30 }),
    cpuMillis: fc.constantFrom(500, 1_000, 2_000),
  });
  fc.assert(
    // Tasks of one size: a place that is given back serves either, so that only the order decides.
    fc.property(shape, fc.integer({ min: 5, max: 30 }), ({ weight, hours, cpuMillis }, otherHours) => {
      const limits = { ...NO_LIMITS, namespaceWeights: new Map([['a', weight]]) };
      const cluster = new Scenario({ limits, isChecked: false }).join('n1', aNodeOf(20));
      cluster.submit(oneStep({ array: '0-9999', resources: { cpuMillis, memoryMiB: 1 } }, { namespace: 'a' }));
      cluster.submit(oneStep({ array: '0-9999', resources: { cpuMillis, memoryMiB: 1 } }, { namespace: 'b' }));
      let heldA = 0;
      let heldB = 0;
      for (let hour = 0; hour < 40 * 24; hour += 1) {
        cluster.after(HOUR_MS);
        const { accounts } = cluster.view.index;
        if (hour > 15 * 24) {
          heldA += accounts.namespace('a').running.cpuMillis;
          heldB += accounts.namespace('b').running.cpuMillis;
        }
        for (const { id, committedAt, ref, phase } of cluster.view.allocations.values()) {
          if (phase.kind === 'ended') continue;
          const lasts = ref.jobId === 'j1' ? hours : otherHours;
          if (cluster.clock.now() - committedAt >= lasts * HOUR_MS) cluster.exits(id);
        }
      }
      const ratio = heldA / heldB / weight;
      if (Math.abs(ratio - 1) > 0.1) throw new Error(`weight ${weight}, yet ${heldA / heldB} times as much was held`);
    }),
    { numRuns: 8, seed: 5 },
  );
  t.pass('8 random pairs');
  t.end();
});
