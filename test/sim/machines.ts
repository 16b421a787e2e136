import type { PoolSpec } from '../../shared/pool.js';
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

/** In every other world there is one. */
export function randomPools(random: Random): readonly PoolSpec[] {
  return below(random, 2) === 0 ? [] : [aPool(random)];
}

/** A pool of machines like the first one, without devices. */
export function aPool(random: Random): PoolSpec {
  const { capacity, attributes } = anInventory();
  return {
    name: 'cloud',
    provider: { kind: 'sim', settings: {} },
    node: { capacity, gpus: [], labels: {}, attributes, drivers: ['process'] },
    min: below(random, 2),
    max: 1 + below(random, 3),
    warm: { kind: 'nodes', count: below(random, 2) },
    idleMs: 500 + below(random, 10_000),
    onIdle: below(random, 2) === 0 ? 'suspend' : 'terminate',
    predeploy: 0,
    exclusive: false,
    fallback: [],
    prices: { onPerHour: 1, suspendedPerHour: 0.1 },
    quota: null,
    times: { bootMs: 8_000, resumeMs: 2_000, offMs: 3_000 },
  };
}

function slices(count: number, first: number): GpuDevice[] {
  return gpus(count, { memoryMiB: 4_864, mig: MIG_PROFILE }).map((slice) => ({
    ...slice,
    index: first + slice.index,
    uuid: `MIG-${first + slice.index}`,
  }));
}
