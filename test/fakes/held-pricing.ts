import type { SizeCount } from '../../coordinator/scheduler/worth/prices.js';
import {
  ImmediatePricing,
  type Pricing,
  type ResidualWorth,
  UNKNOWN_SIZES,
} from '../../coordinator/scheduler/worth/pricing.js';

/** Prices that come in force when a test says so. */
export class HeldPricing implements Pricing {
  readonly #source = new ImmediatePricing();
  #asked = UNKNOWN_SIZES;
  #worth: ResidualWorth = this.#source.of(UNKNOWN_SIZES);

  of(sizes: readonly SizeCount[]): ResidualWorth {
    this.#asked = sizes;
    return this.#worth;
  }

  arrive(): void {
    this.#worth = this.#source.of(this.#asked);
  }
}
