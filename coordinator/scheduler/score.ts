import { subtractResources, WHOLE_GPU_MILLIS } from '../../shared/resources.js';
import type { DemandClass } from '../model/demand.js';
import type { Slot } from './board.js';

/** What a free GPU weighs against the shares of CPU, memory and disk that a placement leaves idle. */
const GPU_WEIGHT = 4;

/**
 * How much of the node a placement would leave idle; the least is the best fit.
 *
 * The sum of the free shares per dimension afterwards, free GPUs weighing most, so that a task without GPUs goes to a
 * node without them and fragments of a node are filled before a fresh one is opened. Placing on a node lowers its
 * score further, so the best node stays the best until it is full.
 */
export function idleAfter(slot: Slot, demand: DemandClass): number {
  const left = subtractResources(slot.free, demand.resources);
  const { capacity } = slot.node.inventory;
  let gpusLeft = -(demand.gpus?.count ?? 0);
  for (const millis of slot.gpuMillis) gpusLeft += millis / WHOLE_GPU_MILLIS;
  return (
    share(left.cpuMillis, capacity.cpuMillis) +
    share(left.memoryMiB, capacity.memoryMiB) +
    share(left.diskMiB, capacity.diskMiB) +
    GPU_WEIGHT * gpusLeft
  );
}

function share(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}
