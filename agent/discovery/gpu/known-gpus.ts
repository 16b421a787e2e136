import type { GpuDevice } from '../../../shared/resources.js';
import type { Gpu, GpuPage } from './gpu.js';

/** A physical GPU that was seen since the machine started, with what of it is offered: itself, or its slices. */
export interface KnownGpu {
  readonly uuid: string;
  readonly index: number;
  readonly devices: readonly GpuDevice[];
}

/** Slices of GPU 0 have the indexes from here on, those of GPU 1 from twice this. */
const SLICE_BASE = 1_000;
const COMPUTE_INSTANCES = 10;

export const GONE = 'nvidia-smi no longer lists it';

/**
 * What is known after a look.
 *
 * A GPU keeps its index for as long as the machine runs, whatever place the tool gives it when another is gone: running
 * tasks hold devices by index. A GPU that is no longer listed stays, with that as its fault.
 * The index of a slice is (index of its GPU + 1) * 1000 + its GPU instance * 10 + its compute instance: these ids stay,
 * while the tool's own numbering moves up when a slice before it is destroyed.
 */
export function knownAfter(known: readonly KnownGpu[], page: GpuPage): readonly KnownGpu[] {
  const listed = new Set(page.gpus.map(({ uuid }) => uuid));
  const taken = new Set(known.map(({ index }) => index));
  const seen = page.gpus.map((gpu) => {
    const index = known.find(({ uuid }) => uuid === gpu.uuid)?.index ?? freeIndex(gpu.position, taken);
    taken.add(index);
    return { uuid: gpu.uuid, index, devices: devicesOf(gpu, index) };
  });
  const gone = known.filter(({ uuid }) => !listed.has(uuid)).map((gpu) => withFault(gpu, GONE));
  return [...seen, ...gone].sort((left, right) => left.index - right.index);
}

/** The same GPUs, all with a fault: the tool no longer answers. */
export function withFault(gpu: KnownGpu, fault: string): KnownGpu {
  return { ...gpu, devices: gpu.devices.map((device) => ({ ...device, fault })) };
}

/** What can be given to tasks: the whole GPU, or its slices where it is divided; never both. */
export function devicesOf(gpu: Gpu, index: number): readonly GpuDevice[] {
  if (!gpu.isMig) {
    const { uuid, model, memoryMiB } = gpu;
    return [{ index, uuid, model, memoryMiB: memoryMiB ?? 0, ...faultOf(gpu.faults) }];
  }
  return gpu.migDevices.map(({ gpuInstanceId, computeInstanceId, uuid, profile, memoryMiB, faults }) => ({
    index: sliceIndex(index, gpuInstanceId, computeInstanceId),
    uuid,
    model: gpu.model,
    memoryMiB: memoryMiB ?? 0,
    mig: profile,
    ...faultOf([...gpu.faults, ...faults]),
  }));
}

export function sliceIndex(gpuIndex: number, gpuInstanceId: number, computeInstanceId: number): number {
  return (gpuIndex + 1) * SLICE_BASE + gpuInstanceId * COMPUTE_INSTANCES + computeInstanceId;
}

function faultOf(faults: readonly string[]): { readonly fault?: string } {
  return faults.length === 0 ? {} : { fault: faults.join('; ') };
}

function freeIndex(wanted: number, taken: ReadonlySet<number>): number {
  let index = wanted;
  while (taken.has(index)) index += 1;
  return index;
}
