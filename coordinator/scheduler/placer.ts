import { present } from '../../shared/assert.js';
import type { Resources } from '../../shared/resources.js';
import type { DemandClass } from '../model/demand.js';
import type { TaskMix } from '../model/mix.js';
import type { Node, NodeClass } from '../model/node.js';
import type { ClusterView } from '../model/state.js';
import { Board, type Row } from './board.js';
import { Candidates } from './candidates.js';
import { devicesOn, type Packing } from './score.js';
import { isUsable } from './slot.js';
import { ImmediatePricing, type Pricing } from './worth/pricing.js';
import { Worth } from './worth/worth.js';

/** What of the cluster's view decides a place. */
export interface PlacedView {
  readonly nodes: ClusterView['nodes'];
  readonly index: Pick<ClusterView['index'], 'usage' | 'mix'>;
}

/** A node and devices on it, by their indexes, chosen for a task. */
export interface Place {
  readonly node: Node;
  readonly gpus: readonly number[];
}

/** A board whose changes have grown beyond this is made anew: they are kept for the slowest reader. */
const MAX_CHANGES = 1_000_000;

/** For a board without rows. */
const UNPRICED: Pricing = { of: () => new Float64Array(0) };

/**
 * Chooses the node and the devices for one task after another, on a board that is kept in step with the view.
 *
 * What it keeps between plans is memory of what it would find again; a new one with the same prices gives the same
 * answers.
 */
export class Placer {
  readonly #pricing: Pricing;
  #board: Board;
  #candidates: Candidates;
  #packing: Packing = 'pack';
  #mix: TaskMix | undefined;
  /** Every node of the view, in its order. */
  #records: readonly Node[] = [];
  /** By row: what the row was last set from. */
  #used: Resources[] = [];
  /** Rows that tasks were placed on since the view was last looked at. */
  readonly #touched = new Set<Row>();

  constructor(pricing: Pricing = new ImmediatePricing()) {
    this.#pricing = pricing;
    this.#board = new Board([], new Worth(new Map(), new Map(), UNPRICED));
    this.#candidates = new Candidates(this.#board, 'pack');
  }

  /** Takes over what has changed in the view, and forgets placements that were not committed. Cost: O(nodes). */
  follow(view: PlacedView, packing: Packing): void {
    const isPriced = packing === this.#packing && view.index.mix === this.#mix && this.#hasPrices();
    if (!isPriced || !this.#isSame(view)) {
      this.#packing = packing;
      this.#mix = view.index.mix;
      this.#begin(view, this.#mix);
    }
    for (let row = 0; row < this.#board.nodes.length; row += 1) {
      const usage = view.index.usage((this.#board.nodes[row] as Node).id);
      if (this.#used[row] === usage.used && !this.#touched.has(row)) continue;
      this.#used[row] = usage.used;
      this.#board.reset(row, usage);
    }
    this.#touched.clear();
  }

  /** The row where a task of the demand is best placed; undefined when no node has room. */
  find(demand: DemandClass): Row | undefined {
    return this.#candidates.best(demand);
  }

  /** The row where it would be placed if this one were not there. */
  findBeside(row: Row, demand: DemandClass): Row | undefined {
    return this.#candidates.best(demand, row);
  }

  nodeOf(row: Row): Node {
    return present(this.#board.nodes[row], 'node of a row');
  }

  /** Gives a task of the demand its place on a row that was found for it. */
  place(row: Row, demand: DemandClass): Place {
    const board = this.#board;
    const fit = present(board.fits.of(demand)[board.classIndex[row] ?? 0] ?? undefined, 'fit of a chosen row');
    const devices = devicesOn(board, row, fit, this.#packing);
    board.take(row, fit, devices);
    this.#touched.add(row);
    const node = present(board.nodes[row], 'chosen node');
    return { node, gpus: devices.map((position) => present(node.inventory.gpus[position], 'device').index) };
  }

  /** Are the board's prices those in force? */
  #hasPrices(): boolean {
    const { sizes, residual } = this.#board.worth;
    return this.#pricing.of(sizes) === residual;
  }

  /** Another node record may be of another class, so nodes are the same only as records. */
  #isSame(view: PlacedView): boolean {
    if (this.#board.changes.length > MAX_CHANGES || view.nodes.size !== this.#records.length) return false;
    let position = 0;
    for (const node of view.nodes.values()) {
      if (node !== this.#records[position]) return false;
      position += 1;
    }
    return true;
  }

  #begin(view: PlacedView, mix: TaskMix): void {
    this.#records = [...view.nodes.values()];
    // The order of a map must not decide a placement.
    const nodes = this.#records.filter(isUsable).sort((left, right) => (left.id < right.id ? -1 : 1));
    const supply = new Map<NodeClass, number>();
    for (const { nodeClass } of nodes) supply.set(nodeClass, (supply.get(nodeClass) ?? 0) + 1);
    this.#board = new Board(nodes, new Worth(mix, supply, this.#pricing));
    this.#candidates = new Candidates(this.#board, this.#packing);
    this.#used = [];
  }
}
