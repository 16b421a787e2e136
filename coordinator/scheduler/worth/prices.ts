/** Tasks that take so many thousandths of one GPU. */
export interface SizeCount {
  readonly millis: number;
  readonly weight: number;
}

/** A device in thousandths. */
const WHOLE = 1_000;
/** The most asked-for sizes are priced; the rest fill what these leave. */
const MAX_SIZES = 64;
/** Prices of one mix jump where the best patterns change, so those of several mixes near it are averaged. */
const MIX_COUNT = 16;
/** A size's weight in a mix near the given one differs by up to this part. */
const MIX_SPREAD = 0.3;
/** Column generation ends by itself; this bounds it should rounding keep it going. */
const MAX_COLUMNS_PER_SIZE = 50;
const TOLERANCE = 1e-7;

/**
 * What the free part of a device can still sell for, in whole devices, by its free thousandths from 0 to 1000.
 *
 * The best set of request sizes that fits, at the dual prices of the cutting-stock problem for the mix: prices at which
 * no device could sell for more than 1 and every size is worth what a tight packing makes of it. Two residuals that
 * fit nothing together cost nothing to leave; one that splits a popular pair does.
 *
 * Cost: 16 linear programs of at most 64 rows, some milliseconds to a second. Pure.
 * Source: Gilmore and Gomory 1961 (column generation); the averaging is ours.
 */
export function priceResiduals(sizes: readonly SizeCount[]): Float64Array {
  const asked = sizes.filter(({ millis, weight }) => millis > 0 && millis < WHOLE && weight > 0);
  const kept = asked.sort((left, right) => right.weight - left.weight || left.millis - right.millis);
  const worth = new Float64Array(WHOLE + 1);
  const rows = kept.slice(0, MAX_SIZES).sort((left, right) => left.millis - right.millis);
  const unit = rows.reduce((divisor, { millis }) => greatestCommonDivisor(divisor, millis), WHOLE);
  const stock = new Stock(
    WHOLE / unit,
    rows.map(({ millis }) => millis / unit),
  );
  for (let mix = 1; mix <= MIX_COUNT; mix += 1) {
    const values = stock.worthFor(rows.map(({ weight }, row) => weight * (1 + MIX_SPREAD * deviation(mix, row))));
    for (let free = 0; free <= WHOLE; free += 1) at(worth, free, (values[Math.floor(free / unit)] ?? 0) / MIX_COUNT);
  }
  // With no size asked for but the whole, only a whole device sells.
  worth[WHOLE] = 1;
  return worth;
}

/** From -1 to 1, evenly spread over the mixes (a Kronecker sequence), and the same at every call. */
function deviation(mix: number, row: number): number {
  return 2 * ((mix * 0.618034 + (row + 1) * 0.75487767 * mix) % 1) - 1;
}

function greatestCommonDivisor(left: number, right: number): number {
  return right === 0 ? left : greatestCommonDivisor(right, left % right);
}

function at(values: Float64Array, position: number, added: number): void {
  values[position] = (values[position] ?? 0) + added;
}

/** The cutting-stock problem for one list of sizes: least devices for so many pieces of each. */
class Stock {
  readonly #capacity: number;
  readonly #sizes: readonly number[];
  readonly #values: Float64Array;
  readonly #choices: Int32Array;

  constructor(capacity: number, sizes: readonly number[]) {
    this.#capacity = capacity;
    this.#sizes = sizes;
    this.#values = new Float64Array(capacity + 1);
    this.#choices = new Int32Array(capacity + 1);
  }

  /** The worth of every residual at the dual prices, the whole device's being 1. The array is reused. */
  worthFor(demands: readonly number[]): Float64Array {
    const basis = new Basis(this.#sizes.map((size, row) => ({ perDevice: Math.floor(this.#capacity / size), row })));
    const amounts = demands.map((demand, row) => demand / Math.floor(this.#capacity / (this.#sizes[row] ?? 1)));
    for (let column = 0; column < MAX_COLUMNS_PER_SIZE * this.#sizes.length; column += 1) {
      const best = this.#fill(basis.prices());
      if (best <= 1 + TOLERANCE || !basis.enter(this.#pattern(), amounts)) break;
    }
    const most = Math.max(1, this.#fill(basis.prices()));
    return this.#values.map((value) => value / most);
  }

  /** Unbounded knapsack: the best value of every capacity, and the piece that gives it. */
  #fill(prices: Float64Array): number {
    const values = this.#values;
    const sizes = this.#sizes;
    for (let room = 1; room <= this.#capacity; room += 1) {
      let best = values[room - 1] ?? 0;
      let choice = -1;
      for (let row = 0; row < sizes.length; row += 1) {
        const size = sizes[row] as number;
        if (size > room) break;
        const value = (values[room - size] as number) + (prices[row] as number);
        if (value <= best + 1e-12) continue;
        best = value;
        choice = row;
      }
      values[room] = best;
      this.#choices[room] = choice;
    }
    return values[this.#capacity] ?? 0;
  }

  /** How many pieces of each size the best filling of a device holds. */
  #pattern(): Float64Array {
    const pieces = new Float64Array(this.#sizes.length);
    for (let room = this.#capacity; room > 0; ) {
      const row = this.#choices[room] as number;
      if (row >= 0) at(pieces, row, 1);
      room -= row < 0 ? 1 : (this.#sizes[row] as number);
    }
    return pieces;
  }
}

/** The inverse of the basis of the revised simplex method; every column costs one device. */
class Basis {
  readonly #inverse: Float64Array[];

  constructor(rows: readonly { readonly perDevice: number; readonly row: number }[]) {
    this.#inverse = rows.map(({ perDevice, row }) => {
      const line = new Float64Array(rows.length);
      line[row] = 1 / perDevice;
      return line;
    });
  }

  prices(): Float64Array {
    const prices = new Float64Array(this.#inverse.length);
    for (const line of this.#inverse) for (let row = 0; row < line.length; row += 1) at(prices, row, line[row] ?? 0);
    return prices;
  }

  /** Brings a pattern into the basis. False when nothing would have to leave, which rounding alone can cause. */
  enter(pattern: Float64Array, amounts: number[]): boolean {
    const direction = this.#inverse.map((line) =>
      line.reduce((sum, value, row) => sum + value * (pattern[row] ?? 0), 0),
    );
    let leaving = -1;
    let least = Number.POSITIVE_INFINITY;
    for (const [row, slope] of direction.entries()) {
      const steps = slope > 1e-9 ? (amounts[row] ?? 0) / slope : Number.POSITIVE_INFINITY;
      if (steps < least) {
        least = steps;
        leaving = row;
      }
    }
    const pivot = this.#inverse[leaving];
    if (pivot === undefined) return false;
    const slope = direction[leaving] ?? 1;
    for (let row = 0; row < pivot.length; row += 1) pivot[row] = (pivot[row] ?? 0) / slope;
    for (const [row, line] of this.#inverse.entries()) {
      const factor = direction[row] ?? 0;
      if (row === leaving || factor === 0) continue;
      for (let column = 0; column < line.length; column += 1) at(line, column, -factor * (pivot[column] ?? 0));
      amounts[row] = Math.max(0, (amounts[row] ?? 0) - factor * least);
    }
    amounts[leaving] = least;
    return true;
  }
}
