import fc from 'fast-check';
import type { GpuSpec } from '../../shared/job-spec/spec.js';
import { anInventory, gpus } from './builders.js';

/** Nodes of every kind: with GPUs of one model, of another, of both, and without. */
export const POOLS = {
  a: anInventory({ gpus: gpus(4), capacity: { cpuMillis: 16_000, memoryMiB: 32_768, diskMiB: 0 } }),
  b: anInventory({ gpus: gpus(2, { model: 'Tesla T4', memoryMiB: 16_384 }) }),
  c: anInventory({ gpus: [...gpus(1), { index: 1, uuid: 'T', model: 'Tesla T4', memoryMiB: 16_384 }] }),
  d: anInventory({ labels: { zone: 'eu' } }),
};

const anyPart = fc.oneof(
  fc.constant({}),
  fc.integer({ min: 1, max: 999 }).map((shareMillis) => ({ shareMillis, count: 1 })),
  fc.integer({ min: 100, max: 20_000 }).map((memoryMiB) => ({ memoryMiB })),
);

const anyGpus: fc.Arbitrary<GpuSpec | null> = fc
  .tuple(
    fc.record({
      count: fc.integer({ min: 1, max: 3 }),
      model: fc.constantFrom(null, null, 't4', 'a100'),
      minMemoryMiB: fc.constantFrom(null, null, 20_000),
    }),
    anyPart,
  )
  .map(([whole, part]) => ({ ...whole, ...part }));

/** A job's needs, which some of the pools can hold, or none. */
export const anyJob = fc.record({
  cpuMillis: fc.integer({ min: 100, max: 5_000 }),
  memoryMiB: fc.integer({ min: 64, max: 9_000 }),
  gpus: fc.option(anyGpus, { freq: 3 }),
  taskCount: fc.integer({ min: 1, max: 8 }),
});

export type AnyJob = typeof anyJob extends fc.Arbitrary<infer Job> ? Job : never;
