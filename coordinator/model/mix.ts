import type { DemandClass } from './demand.js';

/** How many tasks of each demand have been submitted. */
export type TaskMix = ReadonlyMap<DemandClass, number>;

/** Tasks after which the mix is shown for the first time; then at every doubling. */
const FIRST_SHOWN = 16;

/** By demand: tasks submitted, and how many of them the mix shows. */
export type StoredMix = readonly (readonly [demand: string, count: number, shownCount: number])[];

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
    if (this.#count(demand, count)) this.shown = new Map(this.#counts);
  }

  stored(): StoredMix {
    return [...this.#counts].map(([demand, count]) => [demand.key, count, this.shown.get(demand) ?? 0]);
  }

  restore(stored: StoredMix, demandOf: (key: string) => DemandClass): void {
    const shown = new Map<DemandClass, number>();
    for (const [key, count, shownCount] of stored) {
      const demand = demandOf(key);
      this.#count(demand, count);
      if (shownCount > 0) shown.set(demand, shownCount);
    }
    this.shown = shown;
  }

  /** True when the mix is to be shown anew. */
  #count(demand: DemandClass, count: number): boolean {
    this.#counts.set(demand, (this.#counts.get(demand) ?? 0) + count);
    this.#total += count;
    if (this.#total < this.#nextAt) return false;
    while (this.#nextAt <= this.#total) this.#nextAt *= 2;
    return true;
  }
}
