import { SPEC_DEFAULTS } from '../../shared/job-spec/spec.js';
import { gpuWorthMillis, WHOLE_GPU_MILLIS } from '../../shared/resources.js';
import { ClassTable, type DemandClass } from '../model/demand.js';
import { obstacleTo } from '../model/feasible.js';
import { isEmpty } from '../model/hold.js';
import type { Node } from '../model/node.js';
import { type ClusterView, stepOf } from '../model/state.js';
import { isUsable, openGpus, type Slot, slotOf } from './slot.js';

/** What a GPU task is taken to need while none is known: one whole device, with a step's default CPU and memory. */
export const WHOLE_GPU: GpuMix = new Map([
  [
    new ClassTable().demandOf({
      resources: {
        cpuMillis: SPEC_DEFAULTS.cpuMillis,
        memoryMiB: SPEC_DEFAULTS.memoryMiB,
        diskMiB: SPEC_DEFAULTS.diskMiB,
        gpus: { count: 1, model: null, minMemoryMiB: null },
      },
      driver: 'process',
      constraints: [],
      array: '0',
    }),
    1,
  ],
]);

/** What makes free GPU useless to a task: too little of something beside it, too small pieces, or the wrong node. */
export type StrandCause = 'cpu' | 'memory' | 'disk' | 'pieces' | 'unfit';

export interface Stranded {
  /** Thousandths of GPUs that nothing holds. */
  readonly freeMillis: number;
  /** Of these, what a task of the mix cannot use on average, by cause. */
  readonly strandedMillis: number;
  readonly byCause: Readonly<Record<StrandCause, number>>;
}

export interface NodeStranded extends Stranded {
  readonly node: Node;
}

/** Demands with the number of tasks that have them. */
export type GpuMix = ReadonlyMap<DemandClass, number>;

/**
 * The GPU demands of tasks that wait or run; empty when there are none.
 *
 * Cost: O(ready steps + live allocations).
 */
export function gpuMix(view: ClusterView): GpuMix {
  const mix = new Map<DemandClass, number>();
  const add = (demand: DemandClass, count: number): void => {
    if (demand.gpus !== null) mix.set(demand, (mix.get(demand) ?? 0) + count);
  };
  for (const entry of view.index.ready) add(entry.demand, stepOf(view, entry)?.counts.queued ?? 0);
  for (const node of view.nodes.values()) {
    for (const id of view.index.usage(node.id).live) {
      const allocation = view.allocations.get(id);
      const step = allocation && stepOf(view, allocation.ref);
      if (step) add(step.demand, 1);
    }
  }
  return mix;
}

/**
 * How much free GPU of each usable node tasks of the mix could not use, and what keeps them from it.
 *
 * The measure is F_n(M) of "Beware of Fragmentation" (Weng et al., USENIX ATC 2023): for each demand the free GPU that
 * it cannot use on the node, weighed by how many tasks have that demand. Nodes without free GPU are left out.
 * Cost: O(nodes * demands * GPUs per node). Pure.
 */
export function strandedGpus(view: ClusterView, mix: GpuMix): NodeStranded[] {
  const found: NodeStranded[] = [];
  for (const node of view.nodes.values()) {
    if (!isUsable(node) || node.inventory.gpus.length === 0) continue;
    const slot = slotOf(view, node);
    const freeMillis = sum(freeOf(slot));
    if (freeMillis > 0) found.push({ node, ...measure(slot, mix, freeMillis) });
  }
  return found.sort(
    (left, right) => right.strandedMillis - left.strandedMillis || (left.node.id < right.node.id ? -1 : 1),
  );
}

function measure(slot: Slot, mix: GpuMix, freeMillis: number): Stranded {
  const byCause: Record<StrandCause, number> = { cpu: 0, memory: 0, disk: 0, pieces: 0, unfit: 0 };
  const taskCount = sum([...mix.values()]);
  for (const [demand, count] of mix) {
    const cause = causeOf(slot, demand);
    const millis = cause === undefined ? piecesOf(slot, demand) : freeMillis;
    byCause[cause ?? 'pieces'] += (millis * count) / taskCount;
  }
  for (const cause of Object.keys(byCause) as StrandCause[]) byCause[cause] = Math.round(byCause[cause]);
  return { freeMillis, strandedMillis: sum(Object.values(byCause)), byCause };
}

/** Why a task of this demand cannot start on the node now; undefined when it can. */
function causeOf(slot: Slot, demand: DemandClass): StrandCause | undefined {
  const { resources, gpus } = demand;
  if (obstacleTo(demand, slot.node.nodeClass)) return 'unfit';
  const isTaken = demand.exclusive && !isEmpty(slot.free, slot.node.inventory.capacity);
  if (isTaken || resources.cpuMillis > slot.free.cpuMillis) return 'cpu';
  if (resources.memoryMiB > slot.free.memoryMiB) return 'memory';
  if (resources.diskMiB > slot.free.diskMiB) return 'disk';
  return gpus !== null && openGpus(slot, gpus).length < gpus.count ? 'pieces' : undefined;
}

/** Free thousandths on devices that have too little for the demand, or are not of its kind. */
function piecesOf(slot: Slot, { gpus, exclusive }: DemandClass): number {
  // Who has the node to itself has every device.
  if (gpus === null || exclusive) return 0;
  const open = new Set(openGpus(slot, gpus));
  return sum(freeOf(slot).filter((_, position) => !open.has(position)));
}

/** Free thousandths of GPUs by device; a MIG slice is its part of one, and what is out of use is not free. */
function freeOf({ node, gpuMillis }: Slot): number[] {
  return node.inventory.gpus.map((device, position) =>
    device.fault === undefined ? ((gpuMillis[position] ?? 0) * gpuWorthMillis(device)) / WHOLE_GPU_MILLIS : 0,
  );
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
