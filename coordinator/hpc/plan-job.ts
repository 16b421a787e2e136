import { isRefusal, type Problem, type Refusal, refuse } from '../../shared/errors.js';
import { type JobSpec, SPEC_DEFAULTS, type StepSpec } from '../../shared/job-spec/spec.js';
import type { InputSpec } from '../../shared/job-spec/staging-spec.js';
import { inContainer, interpreterOf, workspaceIn } from './containers.js';
import { mapPath } from './paths.js';
import { quoteArgv } from './quote.js';
import { batchScript, type Dialect } from './script.js';
import { type Submission, type SubmitOptions, TASK_FILE } from './submission.js';
import type { HpcTarget } from './target.js';
import { identityOf, placesOf, type RemoteName } from './task-identity.js';

/**
 * The submission that runs a job of one step at a target.
 *
 * Refuses, with all of it together, what a remote batch system cannot be asked for: nothing is accepted and ignored.
 */
export function planJob(spec: JobSpec, target: HpcTarget, name: RemoteName): Submission | Refusal {
  const [step] = spec.steps;
  if (!step || spec.steps.length > 1) {
    const detail = `a job at hpc/${target.name} has one step, and this one has ${spec.steps.length}: submit each by itself`;
    return refuse('invalid-spec', detail);
  }
  const problems = [...unsupported(spec, step), ...unmapped(step, target)];
  if (step.image !== null && target.container === null) {
    const message = `hpc/${target.name} has no "container" in its configuration, which says what runs images there`;
    problems.push({ field: 'image', message });
  }
  if (problems.length > 0) {
    const detail = problems.map(({ field, message }) => `${field}: ${message}`).join('\n');
    return refuse('unsupported-field', detail, { problems });
  }
  const { tag } = name;
  const work = workFolder(target, tag);
  const script = batchScript({
    dialect: dialectOf(target),
    tag,
    work,
    directives: [],
    setup: target.setup,
    env: resourceEnv(step),
    identity: identityOf(name, target, { spec, step }),
    secrets: placesOf(step.secrets),
    workdir: step.image !== null ? null : mappedWorkdir(step, target),
    inputs: step.array !== '0' && (step.inputs ?? []).length > 0 ? 'copied' : 'in-place',
    links: linksOf(step, target),
    program: step.run.kind === 'script' ? step.run.script : null,
    command: commandOf(step, target),
  });
  return isRefusal(script) ? script : { tag, work, script, options: optionsOf(step, target) };
}

export function workFolder(target: Pick<HpcTarget, 'stagingRoot'>, tag: string): string {
  return `${target.stagingRoot}/${tag}`;
}

export function dialectOf({ backend }: Pick<HpcTarget, 'backend'>): Dialect {
  if (backend === 'sge') return 'sge';
  return backend === 'command' ? 'plain' : 'slurm';
}

function unsupported(spec: JobSpec, step: StepSpec): Problem[] {
  const problems: Problem[] = [];
  const add = (field: string, isGiven: boolean, message: string): void => {
    if (isGiven) problems.push({ field, message });
  };
  const { gpus, pinCpus } = step.resources;
  add('hold', spec.hold, 'is not for a remote job; submit it when it may start');
  add('priority', spec.priority !== SPEC_DEFAULTS.priority, 'is decided by the remote system; remove it');
  add('gang', step.gang === true, 'is not for a remote job; use the launcher of the site, such as srun');
  add('user', step.user !== undefined, 'is the account at the remote system; remove it');
  add('constraints', step.constraints.length > 0, 'speak of nodes of this cluster; choose a partition in the target');
  add('volumes', (step.volumes ?? []).length > 0, 'are of nodes of this cluster; map a shared path in the target');
  add('container', step.container !== undefined, 'is for Docker; the remote runtime has its own rules');
  add('resources.pinCpus', pinCpus === true, 'is decided by the remote system; remove it');
  const isShared = gpus?.shareMillis !== undefined || gpus?.memoryMiB !== undefined || gpus?.mig !== undefined;
  add('resources.gpus', isShared, 'must be whole GPUs at a remote system; write a count');
  const isOther = gpus?.minMemoryMiB !== null && gpus?.minMemoryMiB !== undefined;
  add('resources.gpus.minMemory', isOther, 'is not known of remote GPUs; write a model');
  add('resources.gpus.model', Array.isArray(gpus?.model), 'must be one model at a remote system');
  return problems;
}

/** Inputs below a shared path, which need no way to the other side. */
export function linksOf({ inputs = [] }: StepSpec, { paths }: HpcTarget): { to: string; remote: string }[] {
  return inputs.flatMap((input) => {
    const path = localPath(input);
    const remote = path === undefined ? undefined : mapPath(paths, path);
    return remote === undefined ? [] : [{ to: input.to, remote }];
  });
}

/** The file that a `file://` input names; undefined for any other. */
export function localPath({ source }: InputSpec): string | undefined {
  if (source.kind !== 'url' || !source.url.startsWith('file:///')) return undefined;
  return decodeURIComponent(source.url.slice('file://'.length));
}

/** A working directory of this side must be known on the other. */
function unmapped(step: StepSpec, target: HpcTarget): Problem[] {
  if (step.workdir === null || step.image !== null || target.paths.length === 0) return [];
  if (mapPath(target.paths, step.workdir) !== undefined) return [];
  const known = target.paths.map(({ local }) => local).join(', ');
  return [
    { field: 'workdir', message: `${step.workdir} is not below any shared path of hpc/${target.name} (${known})` },
  ];
}

/** Without a mapping, paths are the remote side's own. */
function mappedWorkdir({ workdir }: StepSpec, { paths }: HpcTarget): string | null {
  return workdir === null || paths.length === 0 ? workdir : (mapPath(paths, workdir) ?? workdir);
}

function resourceEnv({ env, resources: { cpuMillis, memoryMiB } }: StepSpec): Record<string, string> {
  return { ...env, BERTH_CPUS: String(cpuMillis / 1_000), BERTH_MEMORY_MIB: String(memoryMiB) };
}

/** What a container is to see of the variables that every script sets. */
const BERTH_VARIABLES = [
  'BERTH_JOB_ID',
  'BERTH_JOB_NAME',
  'BERTH_STEP',
  'BERTH_TASK_ID',
  'BERTH_TASK_INDEX',
  'BERTH_TASK_COUNT',
  'BERTH_ATTEMPT',
  'BERTH_ALLOCATION_ID',
  'BERTH_NODE',
  'BERTH_CPUS',
  'BERTH_MEMORY_MIB',
  'BERTH_HPC_JOB',
];

function commandOf(step: StepSpec, { container }: HpcTarget): string {
  const { image, run, workdir } = step;
  if (image === null || container === null) {
    return run.kind === 'command'
      ? quoteArgv(run.argv)
      : `"$BERTH_WORKSPACE/${TASK_FILE}" ${quoteArgv(run.args)}`.trim();
  }
  const command =
    run.kind === 'command'
      ? quoteArgv(run.argv)
      : `${interpreterOf(run.script)} "${workspaceIn(container)}/${TASK_FILE}" ${quoteArgv(run.args)}`.trim();
  const secrets = (step.secrets ?? []).flatMap(({ env }) => env ?? []);
  return inContainer({
    runtime: container,
    image,
    names: [...Object.keys(step.env), ...secrets, ...BERTH_VARIABLES],
    hasGpus: step.resources.gpus !== null,
    hasSecretFiles: placesOf(step.secrets).hasFiles,
    workdir,
    command,
  });
}

function optionsOf(step: StepSpec, target: HpcTarget): SubmitOptions {
  const { cpuMillis, memoryMiB, diskMiB, gpus, licences } = step.resources;
  const timeLimitMs = step.timeLimitMs ?? target.timeLimitMs;
  return {
    ...placeOf(target),
    cpus: Math.max(1, Math.ceil(cpuMillis / 1_000)),
    memoryMiB,
    ...(diskMiB > 0 ? { diskMiB } : {}),
    ...(gpus === null
      ? {}
      : { gpus: { count: gpus.count, model: typeof gpus.model === 'string' ? gpus.model : null } }),
    ...(licences === undefined ? {} : { licences }),
    ...(step.exclusive === true ? { isExclusive: true } : {}),
    ...(timeLimitMs === null ? {} : { timeLimitMs }),
    ...(step.array === '0' ? {} : { array: step.array }),
    ...(step.maxParallel === undefined ? {} : { maxParallel: step.maxParallel }),
    // A second start is a second attempt, which the job must have allowed.
    mayRequeue: step.retry.maxAttempts > 1 ? 'yes' : 'no',
  };
}

export function placeOf({ account, partition }: Pick<HpcTarget, 'account' | 'partition'>): SubmitOptions {
  return { ...(account === null ? {} : { account }), ...(partition === null ? {} : { partition }) };
}
