/** What a node has, or a task needs, in the units of the planner. All are non-negative integers. */
export interface Resources {
  readonly cpuMillis: number;
  readonly memoryMiB: number;
  readonly diskMiB: number;
}

export const NO_RESOURCES: Resources = { cpuMillis: 0, memoryMiB: 0, diskMiB: 0 };

/** A GPU as the node reports it; `index` names it in a placement. */
export interface GpuDevice {
  readonly index: number;
  readonly uuid: string;
  readonly model: string;
  readonly memoryMiB: number;
}

/** Whole GPUs asked for; a task gets `count` devices that each satisfy the rest. */
export interface GpuDemand {
  readonly count: number;
  /** Case-insensitive part of the model's name; any model when absent. */
  readonly model?: string;
  readonly minMemoryMiB?: number;
}

export function addResources(left: Resources, right: Resources): Resources {
  return {
    cpuMillis: left.cpuMillis + right.cpuMillis,
    memoryMiB: left.memoryMiB + right.memoryMiB,
    diskMiB: left.diskMiB + right.diskMiB,
  };
}

export function subtractResources(left: Resources, right: Resources): Resources {
  return {
    cpuMillis: left.cpuMillis - right.cpuMillis,
    memoryMiB: left.memoryMiB - right.memoryMiB,
    diskMiB: left.diskMiB - right.diskMiB,
  };
}

export function fits(need: Resources, free: Resources): boolean {
  return need.cpuMillis <= free.cpuMillis && need.memoryMiB <= free.memoryMiB && need.diskMiB <= free.diskMiB;
}

export function isEligibleGpu(device: GpuDevice, demand: GpuDemand): boolean {
  if (demand.minMemoryMiB !== undefined && device.memoryMiB < demand.minMemoryMiB) return false;
  return demand.model === undefined || device.model.toLowerCase().includes(demand.model.toLowerCase());
}
