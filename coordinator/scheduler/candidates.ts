import type { Packing } from '../../shared/limits.js';
import type { DemandClass } from '../model/demand.js';
import type { Board, Row } from './board.js';
import { costOn, NO_ROOM } from './score.js';

/** Costs kept over all demands; beyond it the demand that was asked for longest ago starts anew. 12 bytes each. */
const MAX_COSTS = 8_000_000;

/**
 * The best row for each demand: costs are kept per demand and found again only for rows that changed since.
 *
 * A demand's rows are the leaves of a tree in which each node names the better of its two (a tournament): the root is
 * the answer. Of equal costs the first row wins. Cost: O(rows) when a demand is first asked for, then
 * O(rows changed since x log rows).
 */
export class Candidates {
  readonly #board: Board;
  readonly #packing: Packing;
  readonly #byDemand = new Map<DemandClass, Tournament>();

  constructor(board: Board, packing: Packing) {
    this.#board = board;
    this.#packing = packing;
  }

  /** The row where a task of the demand goes; undefined when none has room. */
  best(demand: DemandClass): Row | undefined {
    return this.#upToDate(demand).top();
  }

  /** The best of the rows that are permitted. */
  bestOf(demand: DemandClass, isPermitted: (row: Row) => boolean): Row | undefined {
    return this.#upToDate(demand).best(isPermitted);
  }

  #upToDate(demand: DemandClass): Tournament {
    const tournament = this.#tournamentOf(demand);
    tournament.update();
    return tournament;
  }

  #tournamentOf(demand: DemandClass): Tournament {
    const known = this.#byDemand.get(demand);
    if (known) {
      if (this.#byDemand.size * this.#board.nodes.length > MAX_COSTS) {
        this.#byDemand.delete(demand);
        this.#byDemand.set(demand, known);
      }
      return known;
    }
    const limit = Math.max(1, Math.floor(MAX_COSTS / Math.max(1, this.#board.nodes.length)));
    for (const oldest of this.#byDemand.keys()) {
      if (this.#byDemand.size < limit) break;
      this.#byDemand.delete(oldest);
    }
    const made = new Tournament(this.#board, demand, this.#packing);
    this.#byDemand.set(demand, made);
    return made;
  }
}

class Tournament {
  readonly #board: Board;
  readonly #demand: DemandClass;
  readonly #packing: Packing;
  readonly #costs: Float64Array;
  /** The leaves begin at `#width`; the root is 1. Rows beyond the last have no room. */
  readonly #winners: Int32Array;
  readonly #width: number;
  /** Changes of the board that are seen already. */
  #seen: number;

  constructor(board: Board, demand: DemandClass, packing: Packing) {
    this.#board = board;
    this.#demand = demand;
    this.#packing = packing;
    const rows = board.nodes.length;
    this.#width = rows <= 1 ? 1 : 2 ** Math.ceil(Math.log2(rows));
    this.#costs = new Float64Array(this.#width).fill(NO_ROOM);
    this.#winners = new Int32Array(2 * this.#width);
    for (let row = 0; row < this.#width; row += 1) this.#winners[this.#width + row] = row;
    for (let row = 0; row < rows; row += 1) this.#costs[row] = this.#cost(row);
    for (let place = this.#width - 1; place >= 1; place -= 1) this.#winners[place] = this.#better(place);
    this.#seen = board.changes.length;
  }

  top(): Row | undefined {
    const row = this.#winners[1] as number;
    return this.#costs[row] === NO_ROOM ? undefined : row;
  }

  /** Best first: where a winner is not permitted, those that it beat stand for its part of the tree. */
  best(isPermitted: (row: Row) => boolean): Row | undefined {
    let open = [1];
    for (;;) {
      const place = this.#cheapest(open);
      if (place === undefined) return undefined;
      const row = this.#winners[place] as number;
      if (isPermitted(row)) return row;
      open = open.filter((other) => other !== place);
      for (let below = this.#width + row; below > place; below >>= 1) open.push(below ^ 1);
    }
  }

  /** The place whose winner costs least; undefined when none has room. */
  #cheapest(places: readonly number[]): number | undefined {
    let best: number | undefined;
    let bestCost = NO_ROOM;
    for (const place of places) {
      const row = this.#winners[place] as number;
      const cost = this.#costs[row] as number;
      if (cost > bestCost || cost === NO_ROOM) continue;
      if (cost === bestCost && best !== undefined && row > (this.#winners[best] as number)) continue;
      best = place;
      bestCost = cost;
    }
    return best;
  }

  update(): void {
    const { changes, lastChange } = this.#board;
    for (; this.#seen < changes.length; this.#seen += 1) {
      const row = changes[this.#seen] as number;
      if (lastChange[row] !== this.#seen) continue;
      const cost = this.#cost(row);
      if (cost === this.#costs[row]) continue;
      this.#costs[row] = cost;
      for (let place = (this.#width + row) >> 1; place >= 1; place >>= 1) this.#winners[place] = this.#better(place);
    }
  }

  #cost(row: Row): number {
    const fit = this.#board.fits.of(this.#demand)[this.#board.classIndex[row] as number];
    return fit ? costOn(this.#board, row, fit, this.#packing) : NO_ROOM;
  }

  #better(place: number): Row {
    const left = this.#winners[2 * place] as number;
    const right = this.#winners[2 * place + 1] as number;
    return (this.#costs[right] as number) < (this.#costs[left] as number) ? right : left;
  }
}
