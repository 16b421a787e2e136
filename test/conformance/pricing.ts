import type { Test } from 'tap';
import { priceResiduals, type SizeCount } from '../../coordinator/scheduler/worth/prices.js';
import type { Pricing } from '../../coordinator/scheduler/worth/pricing.js';

export interface PricingBench {
  readonly pricing: Pricing;
  /** Resolves when nothing that was asked for is still to be found. */
  readonly settled: () => Promise<void>;
}

export const PAIRS: readonly SizeCount[] = [
  { millis: 470, weight: 3 },
  { millis: 530, weight: 3 },
];
export const THIRDS: readonly SizeCount[] = [{ millis: 330, weight: 1 }];

/** What every source of prices must do, whenever it finds them. */
export function pricingConformance(t: Test, makeBench: (t: Test) => PricingBench): void {
  for (const [title, run] of Object.entries(PROMISES)) {
    t.test(title, (t) => run(t, makeBench(t)));
  }
}

const PROMISES: Readonly<Record<string, (t: Test, bench: PricingBench) => Promise<void>>> = {
  'the first answer prices every free part already, from nothing to a whole device': async (t, { pricing }) => {
    const worth = pricing.of(PAIRS);
    t.strictSame([worth.length, worth[0], worth[1_000]], [1_001, 0, 1]);
    t.ok(worth.every((value, free) => free === 0 || value >= (worth[free - 1] ?? 0) - 1e-9));
  },

  'in the end the prices are those for the sizes that were asked for last': async (t, { pricing, settled }) => {
    for (const sizes of [PAIRS, THIRDS, [], PAIRS]) pricing.of(sizes);
    await settled();
    t.strictSame(pricing.of(PAIRS), priceResiduals(PAIRS));
    pricing.of(THIRDS);
    await settled();
    t.strictSame(pricing.of(THIRDS), priceResiduals(THIRDS));
  },

  'the array is another one when the prices are, and only then': async (t, { pricing, settled }) => {
    pricing.of(PAIRS);
    await settled();
    const known = pricing.of(PAIRS);
    const equal = PAIRS.map((size) => ({ ...size }));
    t.equal(pricing.of(equal), known, 'equal sizes');
    await settled();
    t.equal(pricing.of(PAIRS), known, 'found once');
    const before = [...known];
    pricing.of(THIRDS);
    await settled();
    t.not(pricing.of(THIRDS), known);
    t.strictSame([...known], before, 'who still has the old prices keeps them');
  },
};
