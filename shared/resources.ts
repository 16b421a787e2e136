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
  /** The profile, such as `1g.5gb`, of a device that is a MIG slice of a GPU; absent for a whole GPU. */
  readonly mig?: string;
  /** Why the device takes no task; absent while it is healthy. */
  readonly fault?: string;
}

/** A whole device in thousandths, the unit in which devices are shared. */
export const WHOLE_GPU_MILLIS = 1_000;

/** GPUs asked for; a task gets `count` devices that each satisfy the rest, whole ones unless it says how much. */
export interface GpuDemand {
  readonly count: number;
  /** Case-insensitive part of the model's name, or several of which any will do; any model when absent. */
  readonly model?: string | readonly string[];
  readonly minMemoryMiB?: number;
  /** Thousandths of the one device that the task shares. */
  readonly shareMillis?: number;
  /** Memory that the task takes of each device; it holds the share of the device that this is. */
  readonly memoryMiB?: number;
  /** Devices that are MIG slices of this profile; whole GPUs when absent. */
  readonly mig?: string;
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

/** Could the device, with nothing on it, serve the demand? */
export function isEligibleGpu(device: GpuDevice, demand: GpuDemand): boolean {
  return device.fault === undefined && isWantedGpu(device, demand);
}

/** The same of a device that is out of use: could it, if it came back? */
export function isWantedGpu(device: GpuDevice, demand: GpuDemand): boolean {
  if (device.mig?.toLowerCase() !== demand.mig) return false;
  if (device.memoryMiB < Math.max(demand.minMemoryMiB ?? 0, demand.memoryMiB ?? 0)) return false;
  return demand.model === undefined || isOfModel(device, demand.model);
}

function isOfModel(device: GpuDevice, wanted: string | readonly string[]): boolean {
  const name = device.model.toLowerCase();
  const models = typeof wanted === 'string' ? [wanted] : wanted;
  return models.some((model) => name.includes(model.toLowerCase()));
}

/** Compute slices of a GPU that MIG divides; a profile such as `2g.10gb` begins with how many of them it has. */
const SLICES_OF_A_GPU = 7;

/** Thousandths of a GPU that a device counts for: all of them, or a MIG slice's part of its GPU, rounded down. */
export function gpuWorthMillis({ mig }: Pick<GpuDemand, 'mig'>): number {
  if (mig === undefined) return WHOLE_GPU_MILLIS;
  const slices = Number(/^\d+/.exec(mig)?.[0] ?? SLICES_OF_A_GPU);
  return Math.min(WHOLE_GPU_MILLIS, Math.floor((WHOLE_GPU_MILLIS * slices) / SLICES_OF_A_GPU));
}

/** Thousandths of an eligible device that a task of this demand holds; an amount of memory is rounded up. */
export function gpuMillisOn(device: GpuDevice, demand: GpuDemand): number {
  if (demand.memoryMiB !== undefined) return Math.ceil((WHOLE_GPU_MILLIS * demand.memoryMiB) / device.memoryMiB);
  return demand.shareMillis ?? WHOLE_GPU_MILLIS;
}
