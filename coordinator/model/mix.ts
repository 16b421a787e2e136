import type { DemandClass } from './demand.js';

/** How many tasks of each demand have been submitted. */
export type TaskMix = ReadonlyMap<DemandClass, number>;

/** Tasks after which the mix is shown for the first time; then at every doubling. */
const FIRST_SHOWN = 16;

/**
 * What tasks a cluster is asked to run, from its own history.
 *
 * Who prices capacity by it does so at 16, 32, 64, ... tasks: a mix, once shown, stays as it is, and the number of
 * times that prices have to be found grows with the logarithm of the history.
 */
export class MixCounter {
  /** The newest mix shown; empty before the first. Replaced, never written to. */
  shown: TaskMix = new Map();
  readonly #counts = new Map<DemandClass, number>();
  #total = 0;
  #nextAt = FIRST_SHOWN;

  add(demand: DemandClass, count: number): void {
    this.#counts.set(demand, (this.#counts.get(demand) ?? 0) + count);
    this.#total += count;
    if (this.#total < this.#nextAt) return;
    while (this.#nextAt <= this.#total) this.#nextAt *= 2;
    this.shown = new Map(this.#counts);
  }
}
