import {
  type GpuDemand,
  gpuMillisOn,
  isEligibleGpu,
  type Resources,
  WHOLE_GPU_MILLIS,
} from '../../shared/resources.js';
import { freeOn } from '../model/hold.js';
import type { Node } from '../model/node.js';
import type { ClusterView } from '../model/state.js';

/** A node's free capacity, for those who look at one node after another; the planner has it in columns (board.ts). */
export interface Slot {
  readonly node: Node;
  free: Resources;
  /** Free thousandths of each device, in the order of the inventory. */
  readonly gpuMillis: number[];
}

/** Connected, and open to new work. */
export function isUsable(node: Node): boolean {
  return node.link.kind === 'connected' && node.intake.kind === 'open';
}

/** All that are, by name: the order of a map must not decide a placement. */
export function usableNodes({ nodes }: Pick<ClusterView, 'nodes'>): Node[] {
  return [...nodes.values()].filter(isUsable).sort((left, right) => (left.id < right.id ? -1 : 1));
}

export function slotOf(view: ClusterView, node: Node): Slot {
  const usage = view.index.usage(node.id);
  return {
    node,
    free: freeOn(node.inventory, usage),
    gpuMillis: node.inventory.gpus.map(({ index }) =>
      usage.isExclusive ? 0 : WHOLE_GPU_MILLIS - (usage.gpuMillis.get(index) ?? 0),
    ),
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
