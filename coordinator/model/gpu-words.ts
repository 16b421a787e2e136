import type { GpuDemand, GpuDevice } from '../../shared/resources.js';
import { cpusOf, formatMiB } from '../../shared/units.js';

/** GPUs asked for, in words: `2 GPUs of model a100 or h100`, `0.25 of a GPU`, `1 MIG slice 1g.5gb`. */
export function gpuWords(demand: GpuDemand): string {
  return `${amountWords(demand)}${modelWords(demand.model)}${memoryWords(demand.minMemoryMiB)}`;
}

function amountWords({ count, shareMillis, memoryMiB, mig }: GpuDemand): string {
  if (mig !== undefined) return `${count} MIG ${count === 1 ? 'slice' : 'slices'} ${mig}`;
  if (shareMillis !== undefined) return `${cpusOf(shareMillis)} of a GPU`;
  const gpus = `${count} ${count === 1 ? 'GPU' : 'GPUs'}`;
  if (memoryMiB === undefined) return gpus;
  return `${formatMiB(memoryMiB)} of ${count === 1 ? 'a GPU' : `each of ${gpus}`}`;
}

function modelWords(model: GpuDemand['model']): string {
  if (model === undefined) return '';
  return ` of model ${typeof model === 'string' ? model : model.join(' or ')}`;
}

function memoryWords(minMemoryMiB: number | undefined): string {
  return minMemoryMiB === undefined ? '' : ` with ${formatMiB(minMemoryMiB)} or more`;
}

/** The devices of a node, in words: `2 x NVIDIA A100, 7 x MIG 1g.5gb of NVIDIA A100, 1 x Tesla T4 (out of use)`. */
export function deviceWords(devices: readonly GpuDevice[]): string {
  const counts = new Map<string, number>();
  for (const device of devices) {
    const name = nameOf(device);
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return counts.size === 0 ? 'no GPU' : [...counts].map(([name, count]) => `${count} x ${name}`).join(', ');
}

function nameOf({ model, mig, fault }: GpuDevice): string {
  const name = mig === undefined ? model : `MIG ${mig} of ${model}`;
  return fault === undefined ? name : `${name} (out of use)`;
}
