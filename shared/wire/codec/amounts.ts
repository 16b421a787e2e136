import type { GpuDevice, Resources } from '../../resources.js';
import * as field from './fields.js';
import type { WireGpu, WireInventory, WireStart } from './generated.js';

/** Milliseconds and amounts travel as whole numbers. */
export const whole = (value: number): number => Math.max(0, Math.round(value));

export function resourcesToWire(resources: Resources): { cpuMillis: number; memoryMib: number; diskMib: number } {
  return {
    cpuMillis: whole(resources.cpuMillis),
    memoryMib: whole(resources.memoryMiB),
    diskMib: whole(resources.diskMiB),
  };
}

export function resourcesFromWire(source: WireInventory | WireStart, where: string): Resources {
  return {
    cpuMillis: field.count(source.cpuMillis, `${where}.cpuMillis`),
    memoryMiB: field.count(source.memoryMib, `${where}.memoryMib`),
    diskMiB: field.count(source.diskMib, `${where}.diskMib`),
  };
}

export function gpuToWire(gpu: GpuDevice): WireGpu {
  const { index, uuid, model, memoryMiB, mig = '', fault = '' } = gpu;
  return { index, uuid, model, memoryMib: whole(memoryMiB), mig, fault };
}

export function gpuFromWire(gpu: WireGpu, where: string): GpuDevice {
  return {
    index: field.count(gpu.index, `${where}.index`),
    uuid: gpu.uuid ?? '',
    model: gpu.model ?? '',
    memoryMiB: field.count(gpu.memoryMib, `${where}.memoryMib`),
    ...(gpu.mig ? { mig: gpu.mig } : {}),
    ...(gpu.fault ? { fault: gpu.fault } : {}),
  };
}
