import { Worker } from 'node:worker_threads';
import type { Log } from '../../shared/log.js';
import { priceResiduals, type SizeCount } from '../scheduler/worth/prices.js';
import { type Pricing, type ResidualWorth, sameSizes, UNKNOWN_SIZES } from '../scheduler/worth/pricing.js';

/** Finds prices in a thread that lives while there are any to find: at 16, 32, 64, ... tasks, so seldom. */
export class BackgroundPricing implements Pricing {
  readonly #log: Log;
  #inForce: { readonly sizes: readonly SizeCount[]; readonly worth: ResidualWorth };
  #wanted: readonly SizeCount[] = UNKNOWN_SIZES;
  #thread: Worker | undefined;
  #isClosed = false;

  constructor({ log }: { readonly log: Log }) {
    this.#log = log;
    this.#inForce = { sizes: UNKNOWN_SIZES, worth: priceResiduals(UNKNOWN_SIZES) };
  }

  of(sizes: readonly SizeCount[]): ResidualWorth {
    this.#wanted = sizes;
    if (!this.#thread) this.#find();
    return this.#inForce.worth;
  }

  get isFinding(): boolean {
    return this.#thread !== undefined;
  }

  /** Finds no more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#thread?.terminate();
  }

  #find(): void {
    const sizes = this.#wanted;
    if (this.#isClosed || sameSizes(sizes, this.#inForce.sizes)) return;
    // Where finding them fails, the prices of before stand for these sizes too: it is not tried again and again.
    let { worth } = this.#inForce;
    const fail = (error: unknown): void => this.#log.error('prices could not be found', { error });
    try {
      const thread = new Worker(new URL('./pricing-worker.js', import.meta.url), { workerData: sizes });
      this.#thread = thread;
      thread.on('message', (found: ResidualWorth) => {
        worth = found;
      });
      thread.on('error', fail);
      thread.on('exit', () => this.#ended({ sizes, worth }));
    } catch (error) {
      fail(error);
      this.#inForce = { sizes, worth };
    }
  }

  /** Prices that are already out of date are better than older ones, unless the sizes have gone back to theirs. */
  #ended(found: { readonly sizes: readonly SizeCount[]; readonly worth: ResidualWorth }): void {
    this.#thread = undefined;
    if (!sameSizes(this.#wanted, this.#inForce.sizes)) this.#inForce = found;
    this.#find();
  }
}
