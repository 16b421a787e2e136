import { cpusOf, formatDuration, formatMiB } from '../units.js';
import { formatStaging } from './format-staging.js';
import type { JsonObject } from './json.js';
import type { Constraint, ContainerSpec, GpuSpec, JobSpec, ResourceSpec, RunSpec, StepSpec, StopSpec } from './spec.js';

/**
 * The published form of a specification: units in words, defaults written out, what is empty left out.
 *
 * It is a valid input form: `parseJobSpec` makes the same specification of it.
 */
export function formatJobSpec(spec: JobSpec): JsonObject {
  return {
    name: spec.name,
    namespace: spec.namespace,
    priority: spec.priority,
    ...filled({ labels: spec.labels }),
    hold: spec.hold,
    allowFutureNodes: spec.allowFutureNodes,
    steps: spec.steps.map(formatStep),
  };
}

function formatStep(step: StepSpec): JsonObject {
  return {
    name: step.name,
    ...filled({ needs: step.needs }),
    array: step.array,
    ...(step.maxParallel === undefined ? {} : { maxParallel: step.maxParallel }),
    ...(step.gang === undefined ? {} : { gang: true }),
    driver: step.driver,
    ...filled({ targets: step.targets ?? [] }),
    ...(step.prefer === undefined ? {} : { prefer: step.prefer }),
    ...(step.deadlineMs === undefined ? {} : { deadline: formatDuration(step.deadlineMs) }),
    ...(step.image === null ? {} : { image: step.image }),
    ...(step.container === undefined ? {} : { container: formatContainer(step.container) }),
    ...formatRun(step.run),
    ...filled({ env: step.env, secrets: (step.secrets ?? []).map((secret) => ({ ...secret })) }),
    ...(step.user === undefined ? {} : { user: step.user }),
    ...(step.workdir === null ? {} : { workdir: step.workdir }),
    resources: formatResources(step.resources),
    ...(step.exclusive ? { exclusive: true } : {}),
    ...filled({ constraints: step.constraints.map(formatConstraint) }),
    ...(step.timeLimitMs === null ? {} : { timeLimit: formatDuration(step.timeLimitMs) }),
    retry: { maxAttempts: step.retry.maxAttempts, backoff: formatDuration(step.retry.backoffMs), on: step.retry.on },
    stop: formatStop(step.stop),
    ...(step.checkpoint === undefined ? {} : { checkpoint: formatStop(step.checkpoint) }),
    ...(step.logLimitMiB === undefined ? {} : { logLimit: formatMiB(step.logLimitMiB) }),
    ...formatStaging(step),
  };
}

function formatStop({ signal, graceMs }: StopSpec): JsonObject {
  return { signal, grace: formatDuration(graceMs) };
}

function formatContainer({ shmMiB, ...same }: ContainerSpec): JsonObject {
  return { ...same, ...(shmMiB === undefined ? {} : { shmSize: formatMiB(shmMiB) }) };
}

function formatRun(run: RunSpec): JsonObject {
  return run.kind === 'command' ? { command: run.argv } : { script: run.script, ...filled({ args: run.args }) };
}

function formatResources({ cpuMillis, pinCpus, memoryMiB, diskMiB, gpus, licences }: ResourceSpec): JsonObject {
  return {
    cpus: cpusOf(cpuMillis),
    ...(pinCpus ? { pinCpus } : {}),
    memory: formatMiB(memoryMiB),
    disk: formatMiB(diskMiB),
    ...(gpus === null ? {} : { gpus: formatGpus(gpus) }),
    ...filled({ licences: licences ?? {} }),
  };
}

function formatGpus({ count, model, minMemoryMiB, shareMillis, memoryMiB, mig }: GpuSpec): JsonObject {
  return {
    count,
    ...(model === null ? {} : { model }),
    ...(minMemoryMiB === null ? {} : { minMemory: formatMiB(minMemoryMiB) }),
    ...(shareMillis === undefined ? {} : { share: cpusOf(shareMillis) }),
    ...(memoryMiB === undefined ? {} : { memory: formatMiB(memoryMiB) }),
    ...(mig === undefined ? {} : { mig }),
  };
}

function formatConstraint({ key, op, values }: Constraint): JsonObject {
  return { key, op, ...filled({ values }) };
}

/** The fields that have anything in them. */
function filled(fields: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => Object.keys(value ?? {}).length > 0));
}
