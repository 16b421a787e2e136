import { gpuWorthMillis, WHOLE_GPU_MILLIS } from '../../shared/resources.js';
import type { Inventory } from '../../shared/wire/messages.js';
import { type Allocation, heldGpuMillis } from './allocation.js';

/**
 * How much of a node an attempt holds, from 0 to 1: of what it holds most of (its dominant share, as DRF has it).
 *
 * Disk does not count: it keeps nobody else from the node as long as there is some.
 */
export function nodeShare(allocation: Allocation, { capacity, gpus }: Pick<Inventory, 'capacity' | 'gpus'>): number {
  if (allocation.exclusive) return 1;
  const held = allocation.gpus.reduce((sum, index, position) => {
    const device = gpus.find((each) => each.index === index);
    return sum + (gpuWorthMillis(device ?? {}) * heldGpuMillis(allocation, position)) / WHOLE_GPU_MILLIS;
  }, 0);
  const all = gpus.reduce((sum, device) => sum + gpuWorthMillis(device), 0);
  const { cpuMillis, memoryMiB } = allocation.resources;
  const shares = [part(cpuMillis, capacity.cpuMillis), part(memoryMiB, capacity.memoryMiB), part(held, all)];
  return Math.min(1, Math.max(...shares));
}

function part(held: number, all: number): number {
  return all > 0 ? held / all : 0;
}
