import { present } from '../../shared/assert.js';
import {
  addResources,
  fits,
  gpuMillisOn,
  type Resources,
  subtractResources,
  WHOLE_GPU_MILLIS,
} from '../../shared/resources.js';
import { type Allocation, heldGpuMillis } from '../model/allocation.js';
import type { DemandClass } from '../model/demand.js';
import { obstacleTo } from '../model/feasible.js';
import { isEmpty, resourcesOn, usableGpus } from '../model/hold.js';
import type { Node } from '../model/node.js';
import type { ClusterView } from '../model/state.js';
import { openGpus, type Slot, slotOf } from './slot.js';

/** A slot of our own, to be written to: what is free on one node at some moment, for those who look ahead. */
export interface Room extends Slot {
  free: Resources;
  readonly gpuMillis: number[];
}

/** What a task holds of a node. */
export interface Share {
  readonly resources: Resources;
  /** Positions of devices, and thousandths of each. */
  readonly gpus: readonly (readonly [number, number])[];
}

/** What is free on a node now. */
export function roomOf(view: ClusterView, node: Node): Room {
  const slot = slotOf(view, node);
  return { ...slot, gpuMillis: [...slot.gpuMillis] };
}

/** Would a task of the demand fit? */
export function hasRoom(slot: Slot, demand: DemandClass): boolean {
  return hasFree(slot, demand) && obstacleTo(demand, slot.node.nodeClass) === undefined;
}

/** Is enough free for a task of the demand, which the node could hold when empty? */
export function hasFree(slot: Slot, demand: DemandClass): boolean {
  if (!fits(demand.resources, slot.free)) return false;
  if (demand.exclusive) return isEmpty(slot.free, slot.node.inventory.capacity);
  return demand.gpus === null || openGpus(slot, demand.gpus).length >= demand.gpus.count;
}

/** What a task of the demand would hold, on the first of these devices (positions in the inventory). */
export function shareFor(node: Node, demand: DemandClass, devices: readonly number[]): Share {
  const { gpus } = demand;
  const resources = resourcesOn(demand, node.inventory.capacity);
  if (demand.exclusive) {
    return {
      resources,
      gpus: usableGpus(node.inventory.gpus).map((position) => [position, WHOLE_GPU_MILLIS] as const),
    };
  }
  if (gpus === null) return { resources, gpus: [] };
  const chosen = devices.slice(0, gpus.count);
  const millisOf = (position: number): number =>
    gpuMillisOn(present(node.inventory.gpus[position], 'open device'), gpus);
  return { resources, gpus: chosen.map((position) => [position, millisOf(position)] as const) };
}

/** Of devices that are named by their indexes. */
export function positionsOf(node: Node, indexes: readonly number[]): number[] {
  return indexes.map((index) => node.inventory.gpus.findIndex((device) => device.index === index));
}

/** What an allocation holds. Devices that the node no longer has are nobody's. */
export function shareOf(node: Node, allocation: Allocation): Share {
  const gpus = allocation.gpus.map((index, order) => {
    const position = node.inventory.gpus.findIndex((device) => device.index === index);
    return [position, heldGpuMillis(allocation, order)] as const;
  });
  return { resources: allocation.resources, gpus: gpus.filter(([position]) => position >= 0) };
}

export function take(slot: Room, { resources, gpus }: Share): void {
  slot.free = subtractResources(slot.free, resources);
  for (const [position, millis] of gpus) slot.gpuMillis[position] = (slot.gpuMillis[position] ?? 0) - millis;
}

export function give(slot: Room, { resources, gpus }: Share): void {
  slot.free = addResources(slot.free, resources);
  for (const [position, millis] of gpus) slot.gpuMillis[position] = (slot.gpuMillis[position] ?? 0) + millis;
}
