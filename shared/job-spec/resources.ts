import { WHOLE_GPU_MILLIS } from '../resources.js';
import { cpusOf, formatMiB, parseCpus, parseMiB, shown } from '../units.js';
import { GPUS_SHAPE, RESOURCES_SHAPE } from './fields.js';
import { child, type Field, invalid, isRecord } from './findings.js';
import { readLicences } from './licences.js';
import { hasShape, readInteger, readOr, readText } from './read.js';
import { type GpuSpec, type ResourceSpec, SPEC_DEFAULTS, SPEC_LIMITS } from './spec.js';

const { cpuMillis, memoryMiB, diskMiB } = SPEC_DEFAULTS;
const DEFAULTS: ResourceSpec = { cpuMillis, memoryMiB, diskMiB, gpus: null };

const RESOURCES_TEXT = 'an object with cpus, memory, disk, gpus, licences';

/** What one task needs; sizes are rounded up to whole MiB. */
export function readResources(field: Field): ResourceSpec {
  if (field.value === undefined || !hasShape(field, RESOURCES_SHAPE, RESOURCES_TEXT)) {
    return DEFAULTS;
  }
  const licences = readOr(child(field, 'licences'), readLicences, undefined);
  return {
    cpuMillis: readOr(child(field, 'cpus'), readCpus, cpuMillis),
    memoryMiB: readOr(child(field, 'memory'), readMemory, memoryMiB),
    diskMiB: readOr(child(field, 'disk'), readDisk, diskMiB),
    gpus: readOr(child(field, 'gpus'), readGpus, null),
    ...(licences === undefined ? {} : { licences }),
  };
}

function readCpus(field: Field): number | undefined {
  const millis = parseCpus(field.value);
  if (typeof millis === 'string') return invalid(field, millis);
  if (millis >= 1 && millis <= SPEC_LIMITS.maxCpuMillis) return millis;
  return invalid(
    field,
    `${shown(field.value)} is out of range; it is from 0.001 to ${cpusOf(SPEC_LIMITS.maxCpuMillis)}`,
  );
}

function readMemory(field: Field): number | undefined {
  return readSize(field, 1);
}

function readDisk(field: Field): number | undefined {
  return readSize(field, 0);
}

function readSize(field: Field, minMiB: number): number | undefined {
  const mebibytes = parseMiB(field.value);
  if (typeof mebibytes === 'string') return invalid(field, mebibytes);
  if (mebibytes >= minMiB && mebibytes <= SPEC_LIMITS.maxMiB) return mebibytes;
  const range = `${formatMiB(minMiB)} to ${formatMiB(SPEC_LIMITS.maxMiB)}`;
  return invalid(field, `${shown(field.value)} is out of range; it is from ${range}`);
}

/** A count, or an object; null for a count of 0. */
function readGpus(field: Field): GpuSpec | null | undefined {
  if (typeof field.value === 'number') return gpusOf({ count: readCount(field), model: null, minMemoryMiB: null });
  if (!isRecord(field.value)) {
    return invalid(
      field,
      `${shown(field.value)} is not a number of GPUs; write 2, or for one model {count: 2, model: a100}`,
    );
  }
  hasShape(field, GPUS_SHAPE, 'an object with count, model, minMemory, share, memory');
  return gpusOf({
    count: readCountBeside(field),
    model: readOr(child(field, 'model'), readModel, null),
    minMemoryMiB: readOr(child(field, 'minMemory'), readMemory, null),
    ...readPart(field),
  });
}

/** How many devices; what says how much of one may leave the count out. */
function readCountBeside(field: Field): number | undefined {
  const count = child(field, 'count');
  const share = child(field, 'share');
  const isPart = share.value !== undefined || child(field, 'memory').value !== undefined;
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

function readModel(field: Field): string | undefined {
  const model = readText(field, 'a part of a model name');
  if (model === undefined) return undefined;
  if (model.trim() !== '' && model.length <= SPEC_LIMITS.maxValueLength) return model;
  return invalid(field, `${shown(model)} is not a part of a model name; write for example a100`);
}
