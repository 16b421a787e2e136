import fc from 'fast-check';
import type { GpuSpec, JobSpec } from '../../shared/job-spec/spec.js';
import type { Limits, Quota } from '../../shared/limits.js';
import { NO_LIMITS } from '../../shared/limits.js';
import type { GpuDevice } from '../../shared/resources.js';
import { anInventory, gpus, oneStep } from './builders.js';

/**
 * Random clusters and jobs with everything that placing reads: whole GPUs, shares, memory, slices, devices out of use,
 * nodes of one's own, licences, quotas, maxParallel, time limits, priorities, several namespaces and users.
 */
const STOP = { signal: 'SIGTERM', graceMs: 0 };
const MINUTE_MS = 60_000;

export const ALL_LIMITS: Limits = {
  ...NO_LIMITS,
  namespaces: new Map<string, Quota>([['a', { cpuMillis: 9_000, gpuMillis: 2_500 }]]),
  users: new Map<string, Quota>([['*', { taskCount: 9, memoryMiB: 20_480 }]]),
  jobs: new Map<string, Quota>([['nightly', { taskCount: 3 }]]),
  licences: new Map([['l', 4]]),
};

/** Devices with the indexes that their places give them. */
function indexed(devices: readonly GpuDevice[]): GpuDevice[] {
  return devices.map((device, index) => ({ ...device, index, uuid: `device-${index}` }));
}

const anyDevices = fc
  .array(
    fc.constantFrom<GpuDevice[]>(
      gpus(1),
      gpus(1, { model: 'Tesla T4', memoryMiB: 16_384 }),
      gpus(2, { memoryMiB: 4_864, mig: '1g.5gb' }),
      gpus(1, { memoryMiB: 9_856, mig: '2g.10gb' }),
      gpus(1, { fault: 'Xid 79' }),
    ),
    { maxLength: 3 },
  )
  .map((groups) => indexed(groups.flat()));

const anyNode = fc.record({
  cpus: fc.integer({ min: 1, max: 8 }),
  gibibytes: fc.integer({ min: 2, max: 16 }),
  devices: anyDevices,
});

export const anyNodes = fc.array(
  anyNode.map(({ cpus, gibibytes, devices }) =>
    anInventory({
      capacity: { cpuMillis: cpus * 1_000, memoryMiB: gibibytes * 1_024, diskMiB: 1_024 },
      gpus: devices,
    }),
  ),
  { minLength: 1, maxLength: 4 },
);

const whole = { count: 1, model: null, minMemoryMiB: null };
const anyGpus: fc.Arbitrary<GpuSpec | null> = fc.oneof(
  { weight: 4, arbitrary: fc.constant(null) },
  fc
    .record({ count: fc.integer({ min: 1, max: 2 }), model: fc.constantFrom(null, 't4', ['a100', 't4']) })
    .map((parts) => ({ ...whole, ...parts })),
  fc.integer({ min: 1, max: 999 }).map((shareMillis) => ({ ...whole, shareMillis })),
  fc.integer({ min: 1, max: 30_000 }).map((memoryMiB) => ({ ...whole, memoryMiB })),
  fc
    .record({ count: fc.integer({ min: 1, max: 2 }), mig: fc.constantFrom('1g.5gb', '2g.10gb') })
    .map((parts) => ({ ...whole, ...parts })),
);

export const anyDemand = fc.record({
  cpuMillis: fc.integer({ min: 1, max: 5_000 }),
  memoryMiB: fc.integer({ min: 1, max: 6_000 }),
  diskMiB: fc.constantFrom(0, 0, 600),
  gpus: anyGpus,
  isAlone: fc.integer({ min: 0, max: 4 }).map((number) => number === 0),
  minutes: fc.option(fc.integer({ min: 1, max: 9 }), { freq: 3 }),
});
export type AnyDemand = typeof anyDemand extends fc.Arbitrary<infer Value> ? Value : never;

export function stepOfDemand({ isAlone, minutes, gpus, ...resources }: AnyDemand) {
  const isPart = (gpus?.shareMillis ?? gpus?.memoryMiB) !== undefined;
  return {
    resources: { ...resources, gpus },
    timeLimitMs: minutes === null ? null : minutes * MINUTE_MS,
    stop: STOP,
    ...(isAlone && !isPart ? { exclusive: true as const } : {}),
  };
}

const anyPlace = fc.record({
  demand: anyDemand,
  taskCount: fc.integer({ min: 1, max: 5 }),
  maxParallel: fc.option(fc.integer({ min: 1, max: 3 }), { freq: 2, nil: undefined }),
  licences: fc.integer({ min: 0, max: 2 }),
  priority: fc.integer({ min: -1, max: 1 }),
  namespace: fc.constantFrom('a', 'b'),
  name: fc.constantFrom('nightly', 'other'),
});

/** A job and who submits it. */
export const anySubmission: fc.Arbitrary<{ readonly by: string; readonly spec: JobSpec }> = fc
  .tuple(fc.constantFrom('ann', 'bob'), anyPlace)
  .map(([by, { demand, taskCount, maxParallel, licences, ...job }]) => {
    const step = stepOfDemand(demand);
    const resources = { ...step.resources, ...(licences === 0 ? {} : { licences: { l: licences } }) };
    const limit = maxParallel === undefined ? {} : { maxParallel };
    const spec = oneStep(
      { ...step, ...limit, resources, array: `0-${taskCount - 1}` },
      { ...job, allowFutureNodes: true },
    );
    return { by, spec };
  });
