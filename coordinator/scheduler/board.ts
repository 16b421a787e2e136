import {
  type GpuDemand,
  gpuMillisOn,
  isEligibleGpu,
  type Resources,
  subtractResources,
  WHOLE_GPU_MILLIS,
} from '../../shared/resources.js';
import type { DemandClass } from '../model/demand.js';
import { obstacleTo } from '../model/feasible.js';
import type { Node, NodeClass } from '../model/node.js';
import type { ClusterView } from '../model/state.js';

/** A node's free capacity on the scratch board: the planner writes here and nowhere else. */
export interface Slot {
  readonly node: Node;
  free: Resources;
  /** Free thousandths of each device, in the order of the inventory. */
  readonly gpuMillis: number[];
}

/** What can be used now, copied from the view, and a memory of which classes can hold which. */
export class Board {
  readonly slots: readonly Slot[];
  readonly #feasible = new Map<DemandClass, Map<NodeClass, boolean>>();

  constructor(view: ClusterView) {
    const slots: Slot[] = [];
    for (const node of view.nodes.values()) if (isUsable(node)) slots.push(slotOf(view, node));
    // The order of a map must not decide a placement.
    this.slots = slots.sort((left, right) => (left.node.id < right.node.id ? -1 : 1));
  }

  /** Could an empty node of this class hold the demand? Asked once per pair of classes. */
  isFeasible(demand: DemandClass, nodeClass: NodeClass): boolean {
    let answers = this.#feasible.get(demand);
    if (!answers) {
      answers = new Map();
      this.#feasible.set(demand, answers);
    }
    const known = answers.get(nodeClass);
    if (known !== undefined) return known;
    const answer = obstacleTo(demand, nodeClass) === undefined;
    answers.set(nodeClass, answer);
    return answer;
  }
}

/** Connected, and open to new work. */
export function isUsable(node: Node): boolean {
  return node.link.kind === 'connected' && node.intake.kind === 'open';
}

export function slotOf(view: ClusterView, node: Node): Slot {
  const usage = view.index.usage(node.id);
  return {
    node,
    free: subtractResources(node.inventory.capacity, usage.used),
    gpuMillis: node.inventory.gpus.map(({ index }) => WHOLE_GPU_MILLIS - (usage.gpuMillis.get(index) ?? 0)),
  };
}

/** Positions of the devices that have room for a task of this demand. */
export function openGpus({ node, gpuMillis }: Slot, demand: GpuDemand): readonly number[] {
  const { gpus } = node.inventory;
  return [...gpus.keys()].filter((position) => {
    const device = gpus[position];
    if (device === undefined || !isEligibleGpu(device, demand)) return false;
    return (gpuMillis[position] ?? 0) >= gpuMillisOn(device, demand);
  });
}
