import { below, type Random } from '../../shared/random.js';
import type { GpuDevice } from '../../shared/resources.js';
import type { Inventory } from '../../shared/wire/messages.js';
import { anInventory, gpus } from '../kit/builders.js';

export const MIG_PROFILE = '1g.5gb';
/** GPUs and slices of the first machine: no task asks for more. */
export const MOST_GPUS = 2;
const MOST_SLICES = 2;

/** The first machine can hold every task of the workload; others have whole GPUs, slices, one that is out of use, or none. */
export function machineOf(random: Random, position: number): Inventory {
  if (position === 0) return anInventory({ gpus: [...gpus(MOST_GPUS), ...slices(MOST_SLICES, MOST_GPUS)] });
  const kinds: readonly (readonly GpuDevice[])[] = [
    [],
    gpus(1),
    slices(1, 0),
    [...gpus(1), ...gpus(1, { index: 1, uuid: 'GPU-1', fault: 'Xid 79' })],
  ];
  return anInventory({ gpus: [...(kinds[below(random, kinds.length)] ?? [])] });
}

function slices(count: number, first: number): GpuDevice[] {
  return gpus(count, { memoryMiB: 4_864, mig: MIG_PROFILE }).map((slice) => ({
    ...slice,
    index: first + slice.index,
    uuid: `MIG-${first + slice.index}`,
  }));
}
