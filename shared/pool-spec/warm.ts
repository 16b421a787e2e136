import { child, type Field, invalid, isRecord } from '../job-spec/findings.js';
import { hasShape, readInteger, readOr } from '../job-spec/read.js';
import { readCpus } from '../job-spec/resources.js';
import { readDisk, readMemory } from '../job-spec/sizes.js';
import { SPEC_DEFAULTS, SPEC_LIMITS } from '../job-spec/spec.js';
import type { SlotShape, WarmFloor } from '../pool.js';
import { shown } from '../units.js';
import { POOL_LIMITS } from './limits.js';

/** `1`: nodes that are on; `{slots: 3, of: {cpus: 2, memory: 15GiB}}`: room that is free. */
export function readWarm(field: Field): WarmFloor | undefined {
  if (typeof field.value === 'number') return nodes(readNodes(field));
  if (!isRecord(field.value)) {
    const remedy = 'write a number of nodes, or {slots: 3, of: {cpus: 2, memory: 4GiB}}';
    return invalid(field, `${shown(field.value)} is not a warm floor; ${remedy}`);
  }
  hasShape(field, { fields: ['slots', 'of'] }, 'an object with slots, of');
  const slots = child(field, 'slots');
  if (slots.value === undefined) invalid(slots, 'is missing; say for how many tasks there is to be room');
  const count = readOr(slots, readSlots, 0);
  return { kind: 'slots', count, of: readSlotShape(child(field, 'of')) };
}

function nodes(count: number | undefined): WarmFloor | undefined {
  return count === undefined ? undefined : { kind: 'nodes', count };
}

function readNodes(field: Field): number | undefined {
  return readInteger(field, { what: 'a number of nodes', min: 0, max: POOL_LIMITS.maxMachines });
}

function readSlots(field: Field): number | undefined {
  return readInteger(field, { what: 'a number of tasks', min: 1, max: POOL_LIMITS.maxSlots });
}

/** What a job asks for, with a job's defaults. */
function readSlotShape(field: Field): SlotShape {
  const { cpuMillis, memoryMiB, diskMiB } = SPEC_DEFAULTS;
  if (field.value === undefined) invalid(field, 'is missing; say what a task needs, as in {cpus: 2, memory: 4GiB}');
  else hasShape(field, { fields: ['cpus', 'memory', 'disk', 'gpus'] }, 'an object with cpus, memory, disk, gpus');
  return {
    resources: {
      cpuMillis: readOr(child(field, 'cpus'), readCpus, cpuMillis),
      memoryMiB: readOr(child(field, 'memory'), readMemory, memoryMiB),
      diskMiB: readOr(child(field, 'disk'), readDisk, diskMiB),
    },
    gpuCount: readOr(child(field, 'gpus'), readGpuCount, 0),
  };
}

function readGpuCount(field: Field): number | undefined {
  return readInteger(field, { what: 'a number of GPUs', min: 0, max: SPEC_LIMITS.maxGpus });
}
