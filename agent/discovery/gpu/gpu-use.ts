import { readFileSync } from 'node:fs';
import type { AllocationId } from '../../../shared/ids.js';
import type { Usage } from '../../../shared/usage.js';
import type { StartOrder } from '../../../shared/wire/messages.js';
import type { Gpu, GpuProcess } from './gpu.js';
import { sliceIndex } from './known-gpus.js';

/** What a look found of a device that tasks hold. */
export interface DeviceUse {
  readonly index: number;
  readonly utilizationPercent: number | null;
  readonly memoryUsedMiB: number | null;
  readonly processes: readonly GpuProcess[];
}

interface Holding {
  readonly indexes: ReadonlySet<number>;
  readonly isShared: boolean;
  peakMiB: number;
  percentSum: number;
  percentCount: number;
}

const BYTES_PER_MIB = 1024 ** 2;

/**
 * What attempts did with the GPUs that they hold, as far as looks at the devices met them.
 *
 * What is an attempt's alone is measured as a whole: the most memory that was in use on its devices at once, and how busy
 * they were on average. Of a device that is shared only the memory of the attempt's own processes is its.
 */
export class GpuUse {
  readonly #ownerOf: (pid: number) => string | undefined;
  readonly #holdings = new Map<AllocationId, Holding>();

  constructor(ownerOf = ownerIn('/proc')) {
    this.#ownerOf = ownerOf;
  }

  begin({ allocationId, gpus, gpuPart }: StartOrder): void {
    if (gpus.length === 0) return;
    const indexes = new Set(gpus.map(({ index }) => index));
    const isShared = gpuPart !== null;
    this.#holdings.set(allocationId, { indexes, isShared, peakMiB: 0, percentSum: 0, percentCount: 0 });
  }

  end(allocationId: AllocationId): Usage {
    const holding = this.#holdings.get(allocationId);
    this.#holdings.delete(allocationId);
    if (holding === undefined) return {};
    const { peakMiB, percentSum, percentCount } = holding;
    return {
      peakGpuMemoryBytes: peakMiB * BYTES_PER_MIB,
      gpuUtilizationPercent: percentCount === 0 ? 0 : percentSum / percentCount,
    };
  }

  /** Call before a look; the answer takes what it found. Who came or went meanwhile is none of its business. */
  expectLook(): (devices: readonly DeviceUse[]) => void {
    const present = [...this.#holdings];
    return (devices) => {
      for (const [id, holding] of present) {
        if (this.#holdings.get(id) === holding) this.#note(id, holding, devices);
      }
    };
  }

  #note(id: AllocationId, holding: Holding, devices: readonly DeviceUse[]): void {
    let memoryMiB = 0;
    for (const device of devices) {
      if (!holding.indexes.has(device.index)) continue;
      memoryMiB += holding.isShared ? this.#memoryOf(id, device) : (device.memoryUsedMiB ?? 0);
      if (holding.isShared || device.utilizationPercent === null) continue;
      holding.percentSum += device.utilizationPercent;
      holding.percentCount += 1;
    }
    holding.peakMiB = Math.max(holding.peakMiB, memoryMiB);
  }

  #memoryOf(id: AllocationId, { processes }: DeviceUse): number {
    const own = processes.filter(({ pid }) => this.#ownerOf(pid) === id);
    return own.reduce((sum, { memoryMiB }) => sum + (memoryMiB ?? 0), 0);
  }
}

/** What a look found of the devices of a GPU, by the index that tasks hold them by. */
export function devicesIn(gpu: Gpu, index: number): readonly DeviceUse[] {
  const { utilizationPercent, memoryUsedMiB, processes } = gpu;
  if (!gpu.isMig) return [{ index, utilizationPercent, memoryUsedMiB, processes }];
  // How busy a single slice is no page tells.
  return gpu.migDevices.map((slice) => ({
    index: sliceIndex(index, slice.gpuInstanceId, slice.computeInstanceId),
    utilizationPercent: null,
    memoryUsedMiB: slice.memoryUsedMiB,
    processes: [],
  }));
}

/** Tells an attempt's processes by a variable that it has in a container too; undefined for what cannot be read. */
function ownerIn(proc: string): (pid: number) => string | undefined {
  return (pid) => {
    try {
      return OWNER.exec(readFileSync(`${proc}/${pid}/environ`, 'utf8'))?.[1];
    } catch {
      return undefined;
    }
  };
}

const OWNER = /(?:^|\0)BERTH_ALLOCATION_ID=([^\0]*)/;
