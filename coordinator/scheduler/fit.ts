import {
  gpuMillisOn,
  gpuWorthMillis,
  isEligibleGpu,
  type Resources,
  WHOLE_GPU_MILLIS,
} from '../../shared/resources.js';
import type { DemandClass } from '../model/demand.js';
import { obstacleTo } from '../model/feasible.js';
import { resourcesOn, usableGpus } from '../model/hold.js';
import type { NodeClass } from '../model/node.js';

/** How a demand meets the nodes of one class. */
export interface Fit {
  readonly demand: DemandClass;
  /** CPU, memory and disk that a task takes. */
  readonly resources: Resources;
  /** Devices that a task takes. */
  readonly gpuCount: number;
  /** What each of them is of a GPU: 1 unless they are MIG slices. */
  readonly unit: number;
  /** What it takes of each device, by position; 0 of a device that it cannot use. */
  readonly millis: Int32Array;
  /** Devices that it can use, the smallest first. */
  readonly order: Int32Array;
}

/** Which demands can be held by nodes of which class, found once per pair. */
export class FitTable {
  readonly classes: NodeClass[] = [];
  readonly #indexes = new Map<NodeClass, number>();
  readonly #fits = new Map<DemandClass, readonly (Fit | null)[]>();

  indexOf(nodeClass: NodeClass): number {
    const known = this.#indexes.get(nodeClass);
    if (known !== undefined) return known;
    this.#indexes.set(nodeClass, this.classes.length);
    return this.classes.push(nodeClass) - 1;
  }

  /** By class index; null where an empty node could never hold a task. Cost: O(node classes) once per demand. */
  of(demand: DemandClass): readonly (Fit | null)[] {
    const known = this.#fits.get(demand);
    if (known?.length === this.classes.length) return known;
    const fits = this.classes.map((nodeClass) => (obstacleTo(demand, nodeClass) ? null : fitOf(demand, nodeClass)));
    this.#fits.set(demand, fits);
    return fits;
  }
}

function fitOf(demand: DemandClass, { capacity, gpus: devices }: NodeClass): Fit {
  const { gpus } = demand;
  const resources = resourcesOn(demand, capacity);
  const millis = new Int32Array(devices.length);
  if (demand.exclusive) {
    const order = Int32Array.from(usableGpus(devices));
    for (const position of order) millis[position] = WHOLE_GPU_MILLIS;
    return { demand, resources, gpuCount: order.length, unit: 1, millis, order };
  }
  if (gpus === null) return { demand, resources, gpuCount: 0, unit: 1, millis, order: new Int32Array(0) };
  const order: number[] = [];
  for (const [position, device] of devices.entries()) {
    if (!isEligibleGpu(device, gpus)) continue;
    millis[position] = gpuMillisOn(device, gpus);
    order.push(position);
  }
  const memoryOf = (position: number): number => devices[position]?.memoryMiB ?? 0;
  order.sort((left, right) => memoryOf(left) - memoryOf(right) || left - right);
  const unit = gpuWorthMillis(gpus) / WHOLE_GPU_MILLIS;
  return { demand, resources, gpuCount: gpus.count, unit, millis, order: Int32Array.from(order) };
}
