/** GPU demand whose tasks need `ratio` of another resource per whole GPU. */
export interface RatioCount {
  readonly ratio: number;
  readonly weight: number;
}

/** Steps of the table; between them it is linear. */
const STEPS = 512;

/**
 * How much of the GPU demand so much CPU (or memory) per GPU can serve: the mean over the demand of min(1, x / ratio).
 *
 * A task that needs twice what there is counts as half served, so an idle GPU whose CPU runs short loses its worth by
 * degrees, long before the last task that it could serve is gone. Concave, from 0 to 1.
 */
export class Served {
  readonly #table: Float64Array;
  readonly #stepsPerUnit: number;

  constructor(counts: readonly RatioCount[]) {
    const total = counts.reduce((sum, { weight }) => sum + weight, 0);
    const highest = counts.reduce((most, { ratio }) => Math.max(most, ratio), 1);
    this.#stepsPerUnit = STEPS / highest;
    this.#table = new Float64Array(STEPS + 2).fill(1);
    for (let step = 0; step < STEPS && total > 0; step += 1) {
      const ratioHere = step / this.#stepsPerUnit;
      let served = 0;
      for (const { ratio, weight } of counts) served += weight * (ratio <= ratioHere ? 1 : ratioHere / ratio);
      this.#table[step] = served / total;
    }
  }

  /** @param ratio  what there is per GPU, in the unit of the counts */
  at(ratio: number): number {
    const position = ratio * this.#stepsPerUnit;
    if (position >= STEPS) return 1;
    const step = position | 0;
    const low = this.#table[step] as number;
    return low + ((this.#table[step + 1] as number) - low) * (position - step);
  }
}
