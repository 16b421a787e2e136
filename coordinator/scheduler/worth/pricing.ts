import { priceResiduals, type SizeCount } from './prices.js';

/** What the free part of a device is worth, in whole devices, by its free thousandths. Never written to. */
export type ResidualWorth = Readonly<Float64Array>;

/** Where a planner has its prices from: finding them can take a second, and placing does not wait for them. */
export interface Pricing {
  /**
   * The prices in force: those for these sizes or, while they are being found, the ones that were found last.
   *
   * Answers at once, and may be asked again at any time: equal sizes are found once, of several that wait the newest
   * alone is. The array is another one exactly when the prices are. Prices say where a task goes and never whether it
   * can go anywhere, so nobody is told when they arrive: the next plan sees them. Throws never.
   */
  of(sizes: readonly SizeCount[]): ResidualWorth;
}

/** While nothing is known: halves and quarters, beside whole devices. */
export const UNKNOWN_SIZES: readonly SizeCount[] = [
  { millis: 500, weight: 1 },
  { millis: 250, weight: 1 },
];

/** Are these the same sizes in the same order? Nodes that come and go make equal lists anew. */
export function sameSizes(left: readonly SizeCount[], right: readonly SizeCount[]): boolean {
  if (left === right) return true;
  if (left.length !== right.length) return false;
  return left.every(({ millis, weight }, at) => millis === right[at]?.millis && weight === right[at]?.weight);
}

/** Finds prices when they are asked for, so that every decision follows from what was asked: for simulations. */
export class ImmediatePricing implements Pricing {
  #found: { readonly sizes: readonly SizeCount[]; readonly worth: ResidualWorth } | undefined;

  of(sizes: readonly SizeCount[]): ResidualWorth {
    const known = this.#found;
    if (known && sameSizes(sizes, known.sizes)) return known.worth;
    const worth = priceResiduals(sizes);
    this.#found = { sizes, worth };
    return worth;
  }
}
