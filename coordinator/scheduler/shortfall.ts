import { assertNever, present } from '../../shared/assert.js';
import { type GpuDemand, isEligibleGpu, WHOLE_GPU_MILLIS } from '../../shared/resources.js';
import { cpusOf, formatMiB } from '../../shared/units.js';
import type { DemandClass } from '../model/demand.js';
import type { Dimension } from '../model/feasible.js';
import { gpuWords } from '../model/gpu-words.js';
import { isEmpty } from '../model/hold.js';
import { openGpus, type Slot } from './slot.js';

/** What a node has too little of, now, for a task that it could hold when empty. */
export interface Shortfall {
  /** `node`: it is to be empty; then the numbers are those of its CPU. */
  readonly dimension: Dimension | 'node';
  readonly needed: number;
  readonly free: number;
  readonly demand: DemandClass;
  readonly slot: Slot;
}

/** The dimension that is shortest, relative to what is needed; undefined when the task fits now. */
export function shortfall(slot: Slot, demand: DemandClass): Shortfall | undefined {
  const { resources, gpus } = demand;
  const of = (dimension: Shortfall['dimension'], needed: number, free: number): Shortfall => ({
    ...{ dimension, needed, demand, slot },
    // A node that came back smaller may be held beyond what it has.
    free: Math.max(0, free),
  });
  const { capacity } = slot.node.inventory;
  if (demand.exclusive)
    return isEmpty(slot.free, capacity) ? undefined : of('node', capacity.cpuMillis, slot.free.cpuMillis);
  const rows = [
    of('cpu', resources.cpuMillis, slot.free.cpuMillis),
    of('memory', resources.memoryMiB, slot.free.memoryMiB),
    of('disk', resources.diskMiB, slot.free.diskMiB),
    of('gpu', gpus?.count ?? 0, gpus === null ? 0 : openGpus(slot, gpus).length),
  ];
  let shortest: Shortfall | undefined;
  for (const row of rows) {
    if (row.free < row.needed && (!shortest || nearness(row) < nearness(shortest))) shortest = row;
  }
  return shortest;
}

/** From 0, nothing of it is free, to 1, all of it would be. */
export function nearness({ needed, free }: Shortfall): number {
  return free / needed;
}

/** As the end of "waits for ...". */
export function describeShortfall({ dimension, needed, free, demand, slot }: Shortfall): string {
  switch (dimension) {
    case 'cpu':
      return `${cpusOf(needed)} ${needed === 1_000 ? 'CPU' : 'CPUs'} (${cpusOf(free)} free)`;
    case 'memory':
      return `${formatMiB(needed)} of memory (${formatMiB(free)} free)`;
    case 'disk':
      return `${formatMiB(needed)} of disk (${formatMiB(free)} free)`;
    case 'node':
      return 'a node to itself';
    case 'gpu':
      return describeGpus(present(demand.gpus ?? undefined, 'GPUs that are short'), slot, free);
    default:
      return assertNever(dimension, 'dimension');
  }
}

/** Of whole devices the number that is free; of parts the largest that one has. */
function describeGpus(gpus: GpuDemand, { node, gpuMillis }: Slot, freeCount: number): string {
  const wanted = gpuWords(gpus);
  if ((gpus.shareMillis ?? gpus.memoryMiB) === undefined) return `${wanted} (${freeCount} free)`;
  const devices = node.inventory.gpus;
  const parts = [...devices.entries()].filter(([, device]) => isEligibleGpu(device, gpus));
  const partOf = (position: number, whole: number): number => ((gpuMillis[position] ?? 0) * whole) / WHOLE_GPU_MILLIS;
  const most =
    gpus.memoryMiB === undefined
      ? cpusOf(Math.max(0, ...parts.map(([position]) => partOf(position, WHOLE_GPU_MILLIS))))
      : formatMiB(Math.floor(Math.max(0, ...parts.map(([position, { memoryMiB }]) => partOf(position, memoryMiB)))));
  return gpus.count === 1
    ? `${wanted} (at most ${most} of one is free)`
    : `${wanted} (${freeCount} have so much free, one at most ${most})`;
}
