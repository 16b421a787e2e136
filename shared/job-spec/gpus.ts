import { WHOLE_GPU_MILLIS } from '../resources.js';
import { parseCpus, shown } from '../units.js';
import { GPUS_SHAPE } from './fields.js';
import { child, type Field, invalid, isRecord } from './findings.js';
import { hasShape, readInteger, readList, readOr, readText } from './read.js';
import { readMemory } from './sizes.js';
import { type GpuSpec, SPEC_LIMITS } from './spec.js';

/** A count, or an object; null for a count of 0. */
export function readGpus(field: Field): GpuSpec | null | undefined {
  if (typeof field.value === 'number') return gpusOf({ count: readCount(field), model: null, minMemoryMiB: null });
  if (!isRecord(field.value)) {
    return invalid(
      field,
      `${shown(field.value)} is not a number of GPUs; write 2, or for one model {count: 2, model: a100}`,
    );
  }
  hasShape(field, GPUS_SHAPE, 'an object with count, model, minMemory, share, memory, mig');
  return gpusOf({
    count: readCountBeside(field),
    model: readOr(child(field, 'model'), readModels, null),
    minMemoryMiB: readOr(child(field, 'minMemory'), readMemory, null),
    ...readPart(field),
    ...readSlices(field),
  });
}

/** How many devices; what says how much of one may leave the count out. */
function readCountBeside(field: Field): number | undefined {
  const count = child(field, 'count');
  const share = child(field, 'share');
  const isPart = ['share', 'memory', 'mig'].some((part) => child(field, part).value !== undefined);
  if (count.value === undefined && !isPart) invalid(count, 'is missing; say how many GPUs a task needs');
  const read = readOr(count, readCount, isPart ? 1 : undefined);
  if (share.value !== undefined && read !== undefined && read !== 1) {
    invalid(share, `is a share over ${read} devices; a share is of one device, so remove it or write "count: 1"`);
  }
  return read;
}

/** How much of a device; nothing for whole ones, and for a share of 1. */
function readPart(field: Field): Pick<GpuSpec, 'shareMillis' | 'memoryMiB'> {
  const share = child(field, 'share');
  const memory = child(field, 'memory');
  if (share.value !== undefined && memory.value !== undefined) {
    invalid(share, 'does not go with "memory"; say either how much of the GPU or how much of its memory');
  }
  const shareMillis = readOr(share, readShare, WHOLE_GPU_MILLIS);
  const memoryMiB = readOr(memory, readMemory, null);
  return {
    ...(shareMillis === WHOLE_GPU_MILLIS ? {} : { shareMillis }),
    ...(memoryMiB === null ? {} : { memoryMiB }),
  };
}

/** Slices are taken whole, and only where the profile is asked for: how large one is its profile says. */
function readSlices(field: Field): Pick<GpuSpec, 'mig'> {
  const profile = child(field, 'mig');
  if (profile.value === undefined) return {};
  for (const part of ['share', 'memory']) {
    if (child(field, part).value === undefined) continue;
    invalid(
      child(field, part),
      'does not go with "mig"; a slice is taken whole, so remove it or choose another profile',
    );
  }
  const mig = readProfile(profile);
  if (mig === undefined) return {};
  const minMemory = child(field, 'minMemory');
  if (readOr(minMemory, readMemory, 0) > memoryOf(mig)) {
    invalid(minMemory, `is more than a slice ${mig} has; remove it or choose a larger profile`);
  }
  return { mig };
}

/** `1g.5gb`, `1c.3g.20gb`, `1g.10gb+me`. */
const PROFILE = /^(?:\d+c\.)?\d+g\.\d+gb(?:[+-][a-z0-9.]+)*$/;

/** As its name says: what a driver reports is a little less. */
function memoryOf(profile: string): number {
  return Number(/(\d+)gb/.exec(profile)?.[1]) * 1_024;
}

function readProfile(field: Field): string | undefined {
  const profile = readText(field, 'the profile of a MIG slice')?.trim().toLowerCase();
  if (profile === undefined) return undefined;
  if (PROFILE.test(profile) && profile.length <= SPEC_LIMITS.maxValueLength) return profile;
  return invalid(field, `${shown(field.value)} is not the profile of a MIG slice; write for example 1g.5gb`);
}

function readShare(field: Field): number | undefined {
  const millis = parseCpus(field.value);
  if (typeof millis !== 'string' && millis >= 1 && millis <= WHOLE_GPU_MILLIS) return millis;
  return invalid(field, `${shown(field.value)} is not a share of one GPU; write 0.001 to 1, for example 0.25`);
}

function gpusOf(gpus: Omit<GpuSpec, 'count'> & { readonly count: number | undefined }): GpuSpec | null {
  return gpus.count === undefined || gpus.count === 0 ? null : { ...gpus, count: gpus.count };
}

function readCount(field: Field): number | undefined {
  return readInteger(field, { what: 'a number of GPUs', min: 0, max: SPEC_LIMITS.maxGpus });
}

/** Any of the models will do. One in a list is the same as one by itself, and the order says nothing. */
function readModels(field: Field): GpuSpec['model'] | undefined {
  if (!Array.isArray(field.value)) return readModel(field);
  if (field.value.length === 0) return invalid(field, 'is an empty list; name a model, or remove the field');
  const models = readList(field, SPEC_LIMITS.maxGpuModels, readModel);
  const distinct = [...new Set(models)].sort();
  return distinct.length > 1 ? distinct : distinct[0];
}

function readModel(field: Field): string | undefined {
  const model = readText(field, 'a part of a model name');
  if (model === undefined) return undefined;
  if (model.trim() !== '' && model.length <= SPEC_LIMITS.maxValueLength) return model;
  return invalid(field, `${shown(model)} is not a part of a model name; write for example a100`);
}
