import type { EpochMs } from '../../shared/clock.js';
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

/** How long its node has served the attempt, by its share of it, until now or its end; 0 on nodes of no pool. */
export function servedBy(allocation: Allocation, now: EpochMs): number {
  return (allocation.nodeShare ?? 0) * heldMs(allocation, now);
}

/** How long it has held a place on its node, until now or its end. */
export function heldMs({ committedAt, phase }: Allocation, now: EpochMs): number {
  return Math.max(0, (phase.kind === 'ended' ? phase.at : now) - committedAt);
}

function part(held: number, all: number): number {
  return all > 0 ? held / all : 0;
}
