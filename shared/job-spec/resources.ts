import { cpusOf, parseCpus, shown } from '../units.js';
import { RESOURCES_SHAPE } from './fields.js';
import { child, type Field, invalid } from './findings.js';
import { readGpus } from './gpus.js';
import { readLicences } from './licences.js';
import { hasShape, readBoolean, readOr } from './read.js';
import { readDisk, readMemory } from './sizes.js';
import { type ResourceSpec, SPEC_DEFAULTS, SPEC_LIMITS } from './spec.js';

const { cpuMillis, memoryMiB, diskMiB } = SPEC_DEFAULTS;
const DEFAULTS: ResourceSpec = { cpuMillis, memoryMiB, diskMiB, gpus: null };

const RESOURCES_TEXT = 'an object with cpus, pinCpus, memory, disk, gpus, licences';

/** What one task needs; sizes are rounded up to whole MiB. */
export function readResources(field: Field): ResourceSpec {
  if (field.value === undefined || !hasShape(field, RESOURCES_SHAPE, RESOURCES_TEXT)) {
    return DEFAULTS;
  }
  const licences = readOr(child(field, 'licences'), readLicences, undefined);
  const cpus = readOr(child(field, 'cpus'), readCpus, cpuMillis);
  return {
    cpuMillis: cpus,
    ...(readOr(child(field, 'pinCpus'), readBoolean, false) ? readPinning(field, cpus) : {}),
    memoryMiB: readOr(child(field, 'memory'), readMemory, memoryMiB),
    diskMiB: readOr(child(field, 'disk'), readDisk, diskMiB),
    gpus: readOr(child(field, 'gpus'), readGpus, null),
    ...(licences === undefined ? {} : { licences }),
  };
}

/** Cores are whole. */
function readPinning(resources: Field, cpuMillis: number): Pick<ResourceSpec, 'pinCpus'> {
  if (cpuMillis % 1_000 !== 0) {
    const remedy = `write ${Math.ceil(cpuMillis / 1_000)}, or remove "pinCpus"`;
    invalid(child(resources, 'cpus'), `${cpusOf(cpuMillis)} is no whole number of cores to pin; ${remedy}`);
  }
  return { pinCpus: true };
}

export function readCpus(field: Field): number | undefined {
  const millis = parseCpus(field.value);
  if (typeof millis === 'string') return invalid(field, millis);
  if (millis >= 1 && millis <= SPEC_LIMITS.maxCpuMillis) return millis;
  return invalid(
    field,
    `${shown(field.value)} is out of range; it is from 0.001 to ${cpusOf(SPEC_LIMITS.maxCpuMillis)}`,
  );
}
