import {
  type GpuDevice,
  gpuWorthMillis,
  NO_RESOURCES,
  type Resources,
  subtractResources,
} from '../../shared/resources.js';
import type { Inventory } from '../../shared/wire/messages.js';
import { type Holdings, holdingsOf } from './accounts.js';
import type { DemandClass } from './demand.js';
import type { NodeUsage } from './indexes.js';

/**
 * What tasks hold of a node. An exclusive one holds all of it, so that whoever adds up what is held (usage, shares,
 * quotas, what looks ahead) need not know of it; what it asks for is only the least that the node must have.
 */
type Machine = Pick<Inventory, 'capacity' | 'gpus'>;

/** CPU, memory and disk that a task holds of a node of such a capacity. */
export function resourcesOn(demand: DemandClass, capacity: Resources): Resources {
  return demand.exclusive ? capacity : demand.resources;
}

/** What a task counts for in shares and quotas once its node is known. */
export function holdingsOn(demand: DemandClass, { capacity, gpus }: Machine): Holdings {
  const own = holdingsOf(demand);
  if (!demand.exclusive) return own;
  const { cpuMillis, memoryMiB } = capacity;
  let gpuMillis = 0;
  for (const position of usableGpus(gpus)) gpuMillis += gpuWorthMillis(gpus[position] ?? {});
  return { ...own, cpuMillis, memoryMiB, gpuMillis };
}

/** Positions of the devices that are not out of use: those that an exclusive task gets. */
export function usableGpus(gpus: readonly GpuDevice[]): number[] {
  return [...gpus.keys()].filter((position) => gpus[position]?.fault === undefined);
}

/** Does nothing hold any of the node? Every task holds some CPU. */
export function isEmpty(free: Pick<Resources, 'cpuMillis'>, capacity: Resources): boolean {
  return free.cpuMillis === capacity.cpuMillis;
}

/** What is free of a node. One that was given away whole has nothing free, even if it came back larger since. */
export function freeOn(
  { capacity }: Machine,
  { used, isExclusive }: Pick<NodeUsage, 'used' | 'isExclusive'>,
): Resources {
  return isExclusive ? NO_RESOURCES : subtractResources(capacity, used);
}
