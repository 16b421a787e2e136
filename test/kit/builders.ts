import type { NodeId } from '../../shared/ids.js';
import { MAIN_STEP } from '../../shared/ids.js';
import { type JobSpec, SPEC_DEFAULTS, type StepSpec } from '../../shared/job-spec/spec.js';
import type { GpuDevice } from '../../shared/resources.js';
import { type Held, type Hello, type Inventory, PROTOCOL_VERSION } from '../../shared/wire/messages.js';

type StepParts = Partial<Omit<StepSpec, 'resources'>> & { readonly resources?: Partial<StepSpec['resources']> };

/** A step of one `true` task that needs one CPU and 512 MiB, changed as told. */
export function aStep(parts: StepParts = {}): StepSpec {
  const { cpuMillis, memoryMiB, diskMiB } = SPEC_DEFAULTS;
  return {
    name: MAIN_STEP,
    needs: [],
    array: '0',
    driver: 'process',
    image: null,
    run: { kind: 'command', argv: ['true'] },
    env: {},
    workdir: null,
    constraints: [],
    timeLimitMs: null,
    retry: SPEC_DEFAULTS.retry,
    stop: SPEC_DEFAULTS.stop,
    ...parts,
    resources: { cpuMillis, memoryMiB, diskMiB, gpus: null, ...parts.resources },
  };
}

/** A job of one such step, or of the steps given. */
export function aJob(parts: Partial<JobSpec> = {}): JobSpec {
  return {
    name: 'test',
    namespace: 'default',
    priority: 0,
    labels: {},
    steps: [aStep()],
    allowFutureNodes: false,
    hold: false,
    ...parts,
  };
}

/** A job of one step. */
export function oneStep(parts: StepParts = {}, job: Partial<JobSpec> = {}): JobSpec {
  return aJob({ ...job, steps: [aStep(parts)] });
}

export function gpus(count: number, parts: Partial<GpuDevice> = {}): GpuDevice[] {
  return Array.from({ length: count }, (_, index) => ({
    index,
    uuid: `GPU-${index}`,
    model: 'NVIDIA A100-SXM4-80GB',
    memoryMiB: 81_920,
    ...parts,
  }));
}

/** A node of four CPUs and 8 GiB, changed as told. */
export function anInventory(parts: Partial<Inventory> = {}): Inventory {
  return {
    capacity: { cpuMillis: 4_000, memoryMiB: 8_192, diskMiB: 102_400 },
    gpus: [],
    labels: {},
    attributes: { os: 'linux', arch: 'x64' },
    drivers: ['process'],
    ...parts,
  };
}

export function aHello(name: string, parts: Partial<Hello> = {}): Hello {
  return {
    protocol: PROTOCOL_VERSION,
    version: '0.1.0',
    nodeId: name as NodeId,
    identity: `identity-of-${name}`,
    instance: `first-process-of-${name}`,
    bootId: 'boot-1',
    inventory: anInventory(),
    held: [] as readonly Held[],
    ...parts,
  };
}
