import type { GpuSample } from '../../../shared/wire/messages.js';
import type { Gpu } from './gpu.js';
import { sliceIndex } from './known-gpus.js';

/** What the devices of a GPU are doing, by the index that tasks hold them by. Slices share what is the whole GPU's. */
export function samplesOf(gpu: Gpu, index: number): readonly GpuSample[] {
  const shared = { ...known('temperatureC', gpu.temperatureC), ...known('powerWatts', gpu.powerWatts) };
  if (!gpu.isMig) {
    return [
      {
        index,
        ...known('utilizationPercent', gpu.utilizationPercent),
        ...known('memoryUsedMiB', gpu.memoryUsedMiB),
        ...shared,
      },
    ];
  }
  return gpu.migDevices.map(({ gpuInstanceId, computeInstanceId, memoryUsedMiB }) => ({
    index: sliceIndex(index, gpuInstanceId, computeInstanceId),
    ...known('memoryUsedMiB', memoryUsedMiB),
    ...shared,
  }));
}

function known<Name extends keyof GpuSample>(name: Name, value: number | null): { readonly [Key in Name]?: number } {
  return value === null ? {} : ({ [name]: value } as { readonly [Key in Name]: number });
}
