import { child, type Field, invalid, isRecord } from '../job-spec/findings.js';
import { readLabels } from '../job-spec/names.js';
import { hasShape, readInteger, readList, readOneOf, readOr, readText } from '../job-spec/read.js';
import { readCpus } from '../job-spec/resources.js';
import { readDisk, readMemory } from '../job-spec/sizes.js';
import { type DriverName, SPEC_LIMITS } from '../job-spec/spec.js';
import { type NodeShape, POOL_LABEL } from '../pool.js';
import type { GpuDevice, Resources } from '../resources.js';

const NODE_FIELDS = ['cpus', 'memory', 'disk', 'gpus', 'labels', 'attributes', 'drivers'];
const DRIVERS: readonly DriverName[] = ['process', 'docker'];

/** What a node of the pool is expected to offer. What is not said cannot be counted on. */
export function readNodeShape(field: Field, pool: string): NodeShape {
  const isGiven =
    field.value !== undefined && hasShape(field, { fields: NODE_FIELDS }, `an object with ${NODE_FIELDS.join(', ')}`);
  if (isGiven) for (const name of ['cpus', 'memory']) reportMissing(child(field, name));
  return {
    capacity: readCapacity(field),
    gpus: readOr(child(field, 'gpus'), readDevices, []),
    labels: { ...readOr(child(field, 'labels'), (labels) => readOwnLabels(labels, pool), {}), [POOL_LABEL]: pool },
    attributes: readOr(child(field, 'attributes'), readLabels, {}),
    drivers: readOr(child(field, 'drivers'), readDrivers, ['process']),
  };
}

function readCapacity(field: Field): Resources {
  return {
    cpuMillis: readOr(child(field, 'cpus'), readCpus, 0),
    memoryMiB: readOr(child(field, 'memory'), readMemory, 0),
    diskMiB: readOr(child(field, 'disk'), readDisk, 0),
  };
}

function readOwnLabels(field: Field, pool: string): Readonly<Record<string, string>> | undefined {
  const labels = readLabels(field);
  if (labels?.[POOL_LABEL] === undefined || labels[POOL_LABEL] === pool) return labels;
  return invalid(child(field, POOL_LABEL), `is "${pool}" for every node of this pool; remove it`);
}

/** A count, or what is known of them. */
function readDevices(field: Field): readonly GpuDevice[] | undefined {
  if (!isRecord(field.value)) return devices(readCount(field) ?? 0, { model: '', memoryMiB: 0 });
  hasShape(field, { fields: ['count', 'model', 'memory'] }, 'an object with count, model, memory');
  reportMissing(child(field, 'count'));
  return devices(readOr(child(field, 'count'), readCount, 0), {
    model: readOr(child(field, 'model'), (model) => readText(model, 'the name of a GPU model'), ''),
    memoryMiB: readOr(child(field, 'memory'), readMemory, 0),
  });
}

function readCount(field: Field): number | undefined {
  return readInteger(field, { what: 'a number of GPUs', min: 0, max: SPEC_LIMITS.maxGpus });
}

function devices(count: number, known: Pick<GpuDevice, 'model' | 'memoryMiB'>): readonly GpuDevice[] {
  return Array.from({ length: count }, (_, index) => ({ index, uuid: `expected-${index}`, ...known }));
}

function readDrivers(field: Field): readonly DriverName[] | undefined {
  return readList(field, DRIVERS.length, (entry) => readOneOf(entry, DRIVERS));
}

function reportMissing(field: Field): void {
  if (field.value === undefined) invalid(field, 'is missing; say what one node of the pool has');
}
