import type { EpochMs } from '../../shared/clock.js';
import type { NodeId } from '../../shared/ids.js';
import type { Node } from '../model/node.js';
import type { ClusterView } from '../model/state.js';
import { afterBackfill, mayBackfill, reserve } from './backfill.js';
import type { Claim, Started } from './outlook.js';
import type { Reservation } from './reservation.js';

/** Blocked tasks that are tried for a reservation; the first that can have one has it. */
const MAX_HEADS = 4;

/**
 * Keeps the reservation of the first task of a plan that finds no room, so that smaller ones cannot starve it.
 *
 * The reservation is found only when a later task could be placed at all. Cost: that of `reserve`, once a plan.
 */
export class Guard {
  readonly #view: ClusterView;
  readonly #now: EpochMs;
  readonly #nodes: readonly Node[];
  readonly #blocked: Claim[] = [];
  #headCount = 0;
  readonly #started = new Map<NodeId, Started[]>();
  #reservation: Reservation | undefined;

  /** @param nodes  usable ones, by name */
  constructor(view: ClusterView, nodes: readonly Node[], now: EpochMs) {
    this.#view = view;
    this.#nodes = nodes;
    this.#now = now;
  }

  /** What the plan at hand has placed, by node. */
  get started(): ReadonlyMap<NodeId, readonly Started[]> {
    return this.#started;
  }

  /** A task found no room; those that follow it in the order must not delay it. */
  block(claim: Claim): void {
    if (this.#reservation || this.#headCount >= MAX_HEADS) return;
    this.#headCount += 1;
    this.#blocked.push(claim);
  }

  /** May a task start on the node, as far as the reservation goes? Ranks of a gang are noted when all have a place. */
  permits(claim: Claim, nodeId: NodeId): boolean {
    for (let head = this.#next(); head; head = this.#next()) {
      this.#reservation = reserve(this.#view, head, { now: this.#now, started: this.#started, nodes: this.#nodes });
    }
    return !this.#reservation || mayBackfill(this.#reservation, { claim, nodeId }, this.#now);
  }

  /** A task was placed. */
  note(claim: Claim, { nodeId, gpus }: { readonly nodeId: NodeId; readonly gpus: readonly number[] }): void {
    if (this.#reservation) this.#reservation = afterBackfill(this.#reservation, { claim, nodeId }, this.#now);
    const started = this.#started.get(nodeId);
    if (started) started.push({ claim, gpus });
    else this.#started.set(nodeId, [{ claim, gpus }]);
  }

  #next(): Claim | undefined {
    return this.#reservation ? undefined : this.#blocked.shift();
  }
}
