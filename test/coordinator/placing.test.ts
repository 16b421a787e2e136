import fc from 'fast-check';
import t from 'tap';
import { ClassTable } from '../../coordinator/model/demand.js';
import { MixCounter } from '../../coordinator/model/mix.js';
import { restore, serialize } from '../../coordinator/model/snapshot.js';
import { DEFAULT_PLAN_POLICY, plan } from '../../coordinator/scheduler/plan.js';
import { priceResiduals, type SizeCount } from '../../coordinator/scheduler/worth/prices.js';
import { Served } from '../../coordinator/scheduler/worth/served.js';
import type { NodeId } from '../../shared/ids.js';
import { gpuMillisOn, isEligibleGpu } from '../../shared/resources.js';
import { type AnyJob, anyJob, POOLS } from '../kit/any-jobs.js';
import { anInventory, aStep, gpus, oneStep } from '../kit/builders.js';
import { Scenario } from '../kit/scenario.js';

const anySizes = fc.uniqueArray(
  fc.record({ millis: fc.integer({ min: 20, max: 999 }), weight: fc.integer({ min: 1, max: 50 }) }),
  { selector: ({ millis }) => millis, minLength: 1, maxLength: 8 },
);

t.test('no filling of a device sells for more than a whole one, and more room is never worth less', (t) => {
  fc.assert(
    fc.property(anySizes, (sizes) => {
      const worth = priceResiduals(sizes);
      if (worth[1_000] !== 1) throw new Error('a whole device is the unit');
      for (let free = 1; free <= 1_000; free += 1) {
        if ((worth[free] ?? 0) < (worth[free - 1] ?? 0) - 1e-9)
          throw new Error(`${free} is worth less than ${free - 1}`);
      }
      for (const { millis } of sizes) {
        for (let free = millis; free <= 1_000; free += 1) {
          const parts = (worth[millis] ?? 0) + (worth[free - millis] ?? 0);
          if (parts > (worth[free] ?? 0) + 1e-6) throw new Error(`${millis} and ${free - millis} beat ${free}`);
        }
      }
    }),
    { numRuns: 40, seed: 3 },
  );
  t.pass('40 random mixes');
  t.end();
});

t.test('sizes that fill a device together cost nothing beside each other; those that do not, do', (t) => {
  const sizes: SizeCount[] = [
    { millis: 470, weight: 30 },
    { millis: 320, weight: 10 },
    { millis: 650, weight: 10 },
  ];
  const worth = priceResiduals(sizes);
  const drop = (from: number, size: number): number => (worth[from] ?? 0) - (worth[from - size] ?? 0);
  const lost = (first: number, second: number): number => drop(1_000, first) + drop(1_000 - first, second);
  const price = (size: number): number => worth[size] ?? 0;
  t.ok(Math.abs(lost(470, 470) - 2 * price(470)) < 0.01, '470 beside 470');
  t.ok(Math.abs(lost(650, 320) - price(650) - price(320)) < 0.01, '650 beside 320');
  t.ok(lost(470, 320) - price(470) - price(320) > 0.05, '470 beside 320 wastes what neither can use');
  t.strictSame(
    priceResiduals([]).filter((value) => value > 0).length,
    1,
    'with whole devices only, a part is worth nothing',
  );
  t.end();
});

t.test('what can be served grows with what there is, by degrees, up to all', (t) => {
  const served = new Served([
    { ratio: 4_000, weight: 1 },
    { ratio: 16_000, weight: 1 },
  ]);
  const at = [0, 4_000, 8_000, 16_000, 99_000].map((ratio) => Number(served.at(ratio).toFixed(3)));
  t.strictSame(at, [0, 0.625, 0.75, 1, 1]);
  t.end();
});

t.test('a mix is shown at 16 tasks and at every doubling, and is the same after a restart', (t) => {
  const demand = new ClassTable().demandOf(aStep());
  const counter = new MixCounter();
  const shown = [15, 1, 15, 1, 100].map((count) => {
    counter.add(demand, count);
    return counter.shown.get(demand);
  });
  t.strictSame(shown, [undefined, 16, 16, 32, 132]);
  const cluster = new Scenario().submit(oneStep({ array: '0-19' })).submit(oneStep({ resources: { cpuMillis: 1 } }));
  const entries = (mix: ReadonlyMap<{ readonly key: string }, number>) => [...mix].map(([{ key }, n]) => [key, n]);
  t.strictSame(entries(restore(serialize(cluster.view)).index.mix), entries(cluster.view.index.mix));
  t.end();
});

function submitAll(cluster: Scenario, jobs: readonly AnyJob[]): Scenario {
  for (const { taskCount, ...resources } of jobs) {
    cluster.submit(oneStep({ array: `0-${taskCount - 1}`, resources }, { allowFutureNodes: true }));
  }
  return cluster;
}

t.test('every placement names as many different devices as asked, each of them eligible and with room', (t) => {
  fc.assert(
    fc.property(fc.array(anyJob, { minLength: 1, maxLength: 8 }), (jobs) => {
      const cluster = new Scenario();
      for (const [name, inventory] of Object.entries(POOLS)) cluster.join(name, { inventory });
      submitAll(cluster, jobs);
      for (const { nodeId, ref, gpus: held } of cluster.view.allocations.values()) {
        const demand = cluster.job(ref.jobId)?.steps.get(ref.step)?.demand.gpus;
        const devices = cluster.node(nodeId)?.inventory.gpus.filter(({ index }) => held.includes(index)) ?? [];
        if (new Set(held).size !== (demand?.count ?? 0)) throw new Error(`${ref.jobId} got ${held}`);
        for (const device of devices) {
          if (!demand || !isEligibleGpu(device, demand)) throw new Error(`${ref.jobId} got ${device.model}`);
          if (gpuMillisOn(device, demand) > 1_000) throw new Error('more than a device of one device');
        }
      }
    }),
    { numRuns: 60, seed: 5 },
  );
  t.pass('60 random queues');
  t.end();
});

t.test('packing fills what is in use, spreading goes where most is free', (t) => {
  const nodesOf = (packing: 'pack' | 'spread'): string[] => {
    const cluster = new Scenario();
    for (const name of ['a', 'b']) cluster.join(name, { inventory: anInventory({ gpus: gpus(2) }) });
    cluster.when({ type: 'cordonNode', nodeId: 'a' as NodeId, reason: 'x', by: 't' });
    cluster.when({ type: 'cordonNode', nodeId: 'b' as NodeId, reason: 'x', by: 't' });
    const shared = { count: 1, model: null, minMemoryMiB: null, shareMillis: 250 };
    cluster.submit(oneStep({ array: '0-3', resources: { cpuMillis: 500, gpus: shared } }));
    const nodes = new Map(
      [...cluster.view.nodes].map(([id, node]) => [id, { ...node, intake: { kind: 'open' } as const }]),
    );
    const made = plan({ ...cluster.view, nodes }, { ...DEFAULT_PLAN_POLICY, packing }, cluster.clock.now());
    return made.placements.map(({ nodeId, gpus: held }) => `${nodeId}${held}`);
  };
  t.strictSame(nodesOf('pack'), ['a0', 'a0', 'a0', 'a0']);
  t.strictSame(nodesOf('spread').sort(), ['a0', 'a1', 'b0', 'b1']);
  t.end();
});
