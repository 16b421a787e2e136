import fc from 'fast-check';
import t, { type Test } from 'tap';
import { NOTHING_USED } from '../../coordinator/model/indexes.js';
import { BackgroundPricing } from '../../coordinator/pricing/background-pricing.js';
import { Placer } from '../../coordinator/scheduler/placer.js';
import { DEFAULT_PLAN_POLICY, plan } from '../../coordinator/scheduler/plan.js';
import { priceResiduals, type SizeCount } from '../../coordinator/scheduler/worth/prices.js';
import { ImmediatePricing, UNKNOWN_SIZES } from '../../coordinator/scheduler/worth/pricing.js';
import { type LogFields, silentLog } from '../../shared/log.js';
import { PAIRS, type PricingBench, pricingConformance, THIRDS } from '../conformance/pricing.js';
import { HeldPricing } from '../fakes/held-pricing.js';
import { anInventory, gpus, oneStep } from '../kit/builders.js';
import { Scenario } from '../kit/scenario.js';
import { until } from '../kit/until.js';

interface Background extends PricingBench {
  readonly pricing: BackgroundPricing;
  readonly errors: LogFields[];
}

function inBackground(t: Test): Background {
  const errors: LogFields[] = [];
  const pricing = new BackgroundPricing({ log: { ...silentLog, error: (_, fields = {}) => void errors.push(fields) } });
  t.teardown(() => pricing.close());
  return { pricing, errors, settled: () => until('prices are found', () => !pricing.isFinding) };
}

t.test('found at once', (t) => {
  pricingConformance(t, () => ({ pricing: new ImmediatePricing(), settled: async () => {} }));
  t.end();
});

t.test('found in a thread', (t) => {
  pricingConformance(t, inBackground);
  t.end();
});

t.test('found when a test says so', (t) => {
  pricingConformance(t, () => {
    const pricing = new HeldPricing();
    return { pricing, settled: async () => pricing.arrive() };
  });
  t.end();
});

t.test('the old prices stay in force while a thread finds new ones', async (t) => {
  const { pricing, settled } = inBackground(t);
  const old = pricing.of(UNKNOWN_SIZES);
  t.strictSame(old, priceResiduals(UNKNOWN_SIZES));
  t.equal(pricing.of(PAIRS), old);
  await settled();
  t.strictSame(pricing.of(THIRDS), priceResiduals(PAIRS));
});

t.test('sizes that cannot be priced leave the prices as they are, are told of once, and stop nothing', async (t) => {
  const { pricing, errors, settled } = inBackground(t);
  const old = pricing.of(UNKNOWN_SIZES);
  const unsendable = [{ millis: 500, weight: () => 1 }] as unknown as SizeCount[];
  const unusable = { length: 0 } as unknown as SizeCount[];
  for (const [told, sizes] of [unsendable, unusable].entries()) {
    for (let asked = 0; asked < 2; asked += 1) {
      t.equal(pricing.of(sizes), old);
      await settled();
    }
    t.equal(errors.length, told + 1);
  }
  pricing.of(PAIRS);
  await settled();
  t.strictSame(pricing.of(PAIRS), priceResiduals(PAIRS));
});

t.test('closed, it answers on and finds no more', async (t) => {
  const { pricing } = inBackground(t);
  const old = pricing.of(PAIRS);
  await pricing.close();
  t.equal(pricing.of(THIRDS), old);
  t.notOk(pricing.isFinding);
});

const anyJob = fc.record({
  cpuMillis: fc.integer({ min: 100, max: 3_000 }),
  shareMillis: fc.integer({ min: 50, max: 999 }),
  taskCount: fc.integer({ min: 1, max: 12 }),
});

const anyChapter = fc.oneof(
  fc.record({ kind: fc.constant('submit' as const), job: anyJob }),
  fc.record({ kind: fc.constant('end' as const), position: fc.nat({ max: 50 }) }),
  fc.record({ kind: fc.constant('arrive' as const) }),
);

t.test('placing goes on while prices are being found: whatever has room is placed at once, by any prices', (t) => {
  fc.assert(
    fc.property(fc.array(anyChapter, { minLength: 3, maxLength: 20 }), (story) => {
      const pricing = new HeldPricing();
      const cluster = new Scenario({ pricing });
      for (const name of ['a', 'b']) cluster.join(name, { inventory: anInventory({ gpus: gpus(2) }) });
      for (const chapter of story) {
        if (chapter.kind === 'arrive') {
          pricing.arrive();
        } else if (chapter.kind === 'submit') {
          const { taskCount, cpuMillis, shareMillis } = chapter.job;
          const share = { count: 1, model: null, minMemoryMiB: null, shareMillis };
          cluster.submit(oneStep({ array: `0-${taskCount - 1}`, resources: { cpuMillis, gpus: share } }));
        } else {
          const live = [...cluster.view.allocations.values()].filter(({ phase }) => phase.kind !== 'ended');
          const ended = live[chapter.position % Math.max(1, live.length)];
          if (ended) cluster.exits(ended.id);
        }
        // Nobody waits for prices: there is nothing that a plan could place by the newest and not by those in force.
        const isPlacing = (placer: Placer): boolean =>
          plan(cluster.view, DEFAULT_PLAN_POLICY, cluster.clock.now(), placer).placements.length > 0;
        t.equal(isPlacing(new Placer()), isPlacing(new Placer(pricing)));
      }
    }),
    { numRuns: 60, seed: 11 },
  );
  t.end();
});

t.test('once prices have arrived, a placer that is kept plans as one that has found them itself', (t) => {
  fc.assert(
    fc.property(fc.array(anyJob, { minLength: 3, maxLength: 8 }), (jobs) => {
      const pricing = new HeldPricing();
      const cluster = new Scenario({ pricing });
      for (const { cpuMillis, shareMillis, taskCount } of jobs) {
        const share = { count: 1, model: null, minMemoryMiB: null, shareMillis };
        const parts = { array: `0-${2 * taskCount}`, resources: { cpuMillis, gpus: share } };
        cluster.submit(oneStep(parts, { allowFutureNodes: true }));
      }
      cluster.join('a', { inventory: anInventory({ gpus: gpus(4) }) });
      // The cluster as it would be if nothing had been placed yet.
      const { ready, levels, accounts, mix } = cluster.view.index;
      const index = { ...cluster.view.index, ready, levels, accounts, mix, usage: () => NOTHING_USED };
      const planned = (placer: Placer) =>
        plan({ ...cluster.view, index }, DEFAULT_PLAN_POLICY, cluster.clock.now(), placer).placements;
      const kept = new Placer(pricing);
      planned(kept);
      pricing.arrive();
      t.strictSame(planned(kept), planned(new Placer()));
    }),
    { numRuns: 60, seed: 12 },
  );
  t.end();
});
