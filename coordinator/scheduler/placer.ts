import { present } from '../../shared/assert.js';
import type { NodeId } from '../../shared/ids.js';
import type { Packing } from '../../shared/limits.js';
import type { DemandClass } from '../model/demand.js';
import type { TaskMix } from '../model/mix.js';
import type { Node, NodeClass } from '../model/node.js';
import type { ClusterView } from '../model/state.js';
import { Board, type Row, type RowState } from './board.js';
import { Candidates } from './candidates.js';
import { devicesOn } from './score.js';
import { usableNodes } from './slot.js';
import { ImmediatePricing, type Pricing } from './worth/pricing.js';
import { Worth } from './worth/worth.js';

/** What of the cluster's view decides a place. */
export interface PlacedView {
  readonly nodes: ClusterView['nodes'];
  readonly index: Pick<ClusterView['index'], 'usage' | 'nodeChanges' | 'mix'>;
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
  /** Every node of the view; those that tasks may be placed on with their rows. */
  #records = new Map<NodeId, { readonly record: Node; readonly row: Row | undefined }>();
  /** The log in which the view notes its changes, and how far it was read. */
  #changes: PlacedView['index']['nodeChanges'] | undefined;
  #seen = 0;
  /** Rows that tasks were placed on since the view was last looked at. */
  readonly #touched = new Set<Row>();

  constructor(pricing: Pricing = new ImmediatePricing()) {
    this.#pricing = pricing;
    this.#board = new Board([], new Worth(new Map(), new Map(), UNPRICED));
    this.#candidates = new Candidates(this.#board, 'pack');
  }

  /** Takes over what has changed in the view, and forgets placements that were not committed. Cost: O(changes). */
  follow(view: PlacedView, packing: Packing): void {
    const isPriced = packing === this.#packing && view.index.mix === this.#mix && this.#hasPrices();
    const changed = isPriced ? this.#changed(view) : undefined;
    if (changed === undefined) this.#begin(view, packing);
    else for (const row of changed) this.#reset(row, view);
    this.#touched.clear();
    this.#seen = view.index.nodeChanges.position;
  }

  /** The row where a task of the demand is best placed; undefined when no node has room. */
  find(demand: DemandClass): Row | undefined {
    return this.#candidates.best(demand);
  }

  /** The best row of those that are permitted. Cost: O(log nodes) for each better one that is not. */
  findPermitted(demand: DemandClass, isPermitted: (node: Node) => boolean): Row | undefined {
    return this.#candidates.bestOf(demand, (row) => isPermitted(this.nodeOf(row)));
  }

  /** Nodes that tasks may be placed on, by name. */
  get nodes(): readonly Node[] {
    return this.#board.nodes;
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
    const gpus = devices.map((position) => present(node.inventory.gpus[position], 'device').index);
    return { node, gpus };
  }

  /** What a row is now, for `restore`. */
  stateOf(row: Row): RowState {
    return this.#board.stateOf(row);
  }

  /** Takes back what was placed on rows since these states of theirs, given in the order in which they were read. */
  restore(states: readonly RowState[]): void {
    for (const state of states.toReversed()) this.#board.restore(state);
  }

  /** Are the board's prices those in force? */
  #hasPrices(): boolean {
    const { sizes, residual } = this.#board.worth;
    return this.#pricing.of(sizes) === residual;
  }

  /** Rows that differ from the view; undefined when the board has to be made anew. */
  #changed(view: PlacedView): ReadonlySet<Row> | undefined {
    if (view.index.nodeChanges !== this.#changes || this.#board.changes.length > MAX_CHANGES) return undefined;
    const names = this.#changes.since(this.#seen);
    if (names === undefined) return undefined;
    const rows = new Set(this.#touched);
    for (const name of names) {
      const known = this.#records.get(name);
      // Another record may be of another class, or closed.
      if (known?.record !== view.nodes.get(name)) return undefined;
      if (known?.row !== undefined) rows.add(known.row);
    }
    return rows;
  }

  #reset(row: Row, view: PlacedView): void {
    this.#board.reset(row, view.index.usage(this.nodeOf(row).id));
  }

  #begin(view: PlacedView, packing: Packing): void {
    const nodes = usableNodes(view);
    const supply = new Map<NodeClass, number>();
    for (const { nodeClass } of nodes) supply.set(nodeClass, (supply.get(nodeClass) ?? 0) + 1);
    this.#packing = packing;
    this.#mix = view.index.mix;
    this.#changes = view.index.nodeChanges;
    this.#board = new Board(nodes, new Worth(this.#mix, supply, this.#pricing));
    this.#candidates = new Candidates(this.#board, packing);
    this.#records = new Map([...view.nodes.values()].map((record) => [record.id, { record, row: undefined }]));
    for (const [row, record] of nodes.entries()) {
      this.#records.set(record.id, { record, row });
      this.#reset(row, view);
    }
  }
}
