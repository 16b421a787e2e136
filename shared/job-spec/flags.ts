/**
 * The flags of `berth run`, which are also those of a `#BERTH` line in a script.
 *
 * They are turned into the input form, which `parseJobSpec` checks: a flag, a directive and a YAML field that say the
 * same thing become the same specification.
 */
export interface RunFlagValues {
  readonly name?: string;
  readonly namespace?: string;
  readonly priority?: string;
  readonly cpus?: string;
  readonly memory?: string;
  readonly disk?: string;
  /** `2` or `2:a100`. */
  readonly gpus?: string;
  readonly gpuModel?: readonly string[];
  readonly gpuMinMemory?: string;
  readonly gpuShare?: string;
  readonly gpuMemory?: string;
  readonly gpuMig?: string;
  readonly array?: string;
  readonly count?: string;
  readonly maxParallel?: string;
  readonly gang?: boolean;
  /** `matlab=2` */
  readonly licence?: readonly string[];
  readonly exclusive?: boolean;
  readonly pinCpus?: boolean;
  readonly timeLimit?: string;
  readonly env?: readonly string[];
  /** `token=env:TOKEN`, `key=file:key.pem`, or the name alone. */
  readonly secret?: readonly string[];
  readonly label?: readonly string[];
  readonly constraint?: readonly string[];
  readonly target?: readonly string[];
  readonly prefer?: string;
  readonly deadline?: string;
  readonly image?: string;
  readonly user?: string;
  readonly pull?: string;
  readonly network?: string;
  readonly workdir?: string;
  readonly retry?: string;
  readonly retryBackoff?: string;
  readonly retryOn?: readonly string[];
  readonly stopSignal?: string;
  readonly stopGrace?: string;
  readonly logLimit?: string;
  readonly hold?: boolean;
  readonly allowFutureNodes?: boolean;
  readonly command?: readonly string[];
  readonly script?: string;
  readonly args?: readonly string[];
}

export type RunFlagKey = Exclude<keyof RunFlagValues, 'command' | 'script' | 'args'>;

export interface RunFlag {
  readonly flag: `--${string}`;
  readonly short?: `-${string}`;
  /** What stands after the flag, for the help; null for a flag that takes nothing. */
  readonly value: string | null;
  readonly key: RunFlagKey;
  /** The field of the input form that it sets, as problems name it. */
  readonly field: string;
  readonly repeatable?: true;
  readonly help: string;
}

export const RUN_FLAGS: readonly RunFlag[] = [
  { flag: '--name', short: '-n', value: 'NAME', key: 'name', field: 'name', help: 'name of the job' },
  {
    flag: '--namespace',
    value: 'NAME',
    key: 'namespace',
    field: 'namespace',
    help: 'namespace that the job belongs to',
  },
  { flag: '--priority', value: 'N', key: 'priority', field: 'priority', help: '-1000 to 1000, or low, normal, high' },
  { flag: '--cpus', short: '-c', value: 'N', key: 'cpus', field: 'resources.cpus', help: 'processors: 2, 0.5 or 250m' },
  { flag: '--memory', short: '-m', value: 'SIZE', key: 'memory', field: 'resources.memory', help: 'memory: 15GiB' },
  { flag: '--disk', value: 'SIZE', key: 'disk', field: 'resources.disk', help: 'scratch space: 100GiB' },
  {
    flag: '--gpus',
    short: '-g',
    value: 'N[:MODEL]',
    key: 'gpus',
    field: 'resources.gpus',
    help: 'whole GPUs: 1 or 2:a100',
  },
  {
    flag: '--gpu-model',
    value: 'TEXT',
    key: 'gpuModel',
    field: 'resources.gpus.model',
    repeatable: true,
    help: "part of the GPU model's name; repeated, any of them will do",
  },
  {
    flag: '--gpu-min-memory',
    value: 'SIZE',
    key: 'gpuMinMemory',
    field: 'resources.gpus.minMemory',
    help: 'memory that each GPU has at least',
  },
  {
    flag: '--gpu-share',
    value: 'N',
    key: 'gpuShare',
    field: 'resources.gpus.share',
    help: 'share of one GPU: 0.25',
  },
  {
    flag: '--gpu-memory',
    value: 'SIZE',
    key: 'gpuMemory',
    field: 'resources.gpus.memory',
    help: 'memory to hold of a shared GPU: 10GiB',
  },
  {
    flag: '--gpu-mig',
    value: 'PROFILE',
    key: 'gpuMig',
    field: 'resources.gpus.mig',
    help: 'take MIG slices, one unless --gpus says how many: 1g.5gb',
  },
  {
    flag: '--array',
    short: '-a',
    value: 'RANGES',
    key: 'array',
    field: 'array',
    help: 'task indexes: 1-100 or 1-9:2,20',
  },
  { flag: '--count', value: 'N', key: 'count', field: 'count', help: 'so many tasks, with indexes from 0' },
  {
    flag: '--max-parallel',
    value: 'N',
    key: 'maxParallel',
    field: 'maxParallel',
    help: 'so many of its tasks at once, at most',
  },
  {
    flag: '--gang',
    value: null,
    key: 'gang',
    field: 'gang',
    help: 'the tasks are ranks that start together or not at all',
  },
  {
    flag: '--licence',
    value: 'NAME=N',
    key: 'licence',
    field: 'resources.licences',
    repeatable: true,
    help: 'licences that a task holds: matlab=1',
  },
  {
    flag: '--exclusive',
    value: null,
    key: 'exclusive',
    field: 'exclusive',
    help: 'have a node to itself; what is asked for is the least that it must have',
  },
  {
    flag: '--pin-cpus',
    value: null,
    key: 'pinCpus',
    field: 'resources.pinCpus',
    help: 'its CPUs are cores that no other pinned task has',
  },
  {
    flag: '--time-limit',
    short: '-t',
    value: 'TIME',
    key: 'timeLimit',
    field: 'timeLimit',
    help: 'stop a task after: 4m',
  },
  {
    flag: '--env',
    short: '-e',
    value: 'NAME=VALUE',
    key: 'env',
    field: 'env',
    repeatable: true,
    help: 'environment variable',
  },
  {
    flag: '--secret',
    value: 'NAME[=env:VAR]',
    key: 'secret',
    field: 'secrets',
    repeatable: true,
    help: 'a secret, as a variable or as a file: token=env:TOKEN, key=file:key.pem, key',
  },
  {
    flag: '--label',
    short: '-l',
    value: 'NAME=VALUE',
    key: 'label',
    field: 'labels',
    repeatable: true,
    help: 'label of the job',
  },
  {
    flag: '--constraint',
    value: 'TEXT',
    key: 'constraint',
    field: 'constraints',
    repeatable: true,
    help: 'condition on the node: label:zone=eu, arch=x64, label:ssd, !label:spot',
  },
  {
    flag: '--target',
    value: 'PLACE',
    key: 'target',
    field: 'targets',
    repeatable: true,
    help: 'run there: hpc/NAME, pool/NAME or cluster; repeated, where it is best',
  },
  {
    flag: '--prefer',
    value: 'WHAT',
    key: 'prefer',
    field: 'prefer',
    help: 'what decides between targets: time or price',
  },
  {
    flag: '--deadline',
    value: 'TIME',
    key: 'deadline',
    field: 'deadline',
    help: 'take the cheapest target that is done so long after the submission: 6h',
  },
  { flag: '--image', value: 'IMAGE', key: 'image', field: 'image', help: 'run in this container image' },
  { flag: '--user', value: 'NAME', key: 'user', field: 'user', help: 'whom the node runs it as, if it may' },
  {
    flag: '--pull',
    value: 'WHEN',
    key: 'pull',
    field: 'container.pull',
    help: 'when the image is pulled: missing, newer, always, never',
  },
  {
    flag: '--network',
    value: 'MODE',
    key: 'network',
    field: 'container.network',
    help: 'network of the container: none, bridge, or host where it is allowed',
  },
  { flag: '--workdir', value: 'PATH', key: 'workdir', field: 'workdir', help: 'absolute directory on the node' },
  {
    flag: '--retry',
    value: 'N',
    key: 'retry',
    field: 'retry.maxAttempts',
    help: 'attempts in all, also after failures',
  },
  {
    flag: '--retry-backoff',
    value: 'TIME',
    key: 'retryBackoff',
    field: 'retry.backoff',
    help: 'wait before the second attempt',
  },
  {
    flag: '--retry-on',
    value: 'END',
    key: 'retryOn',
    field: 'retry.on',
    repeatable: true,
    help: 'end to retry after: exited, signaled, start-failed, rejected, time-limit, lost',
  },
  {
    flag: '--stop-signal',
    value: 'SIGNAL',
    key: 'stopSignal',
    field: 'stop.signal',
    help: 'signal that asks to stop: SIGTERM',
  },
  { flag: '--log-limit', value: 'SIZE', key: 'logLimit', field: 'logLimit', help: 'keep of each output: 100MiB' },
  { flag: '--stop-grace', value: 'TIME', key: 'stopGrace', field: 'stop.grace', help: 'time to stop by itself: 30s' },
  { flag: '--hold', value: null, key: 'hold', field: 'hold', help: 'start nothing until the job is released' },
  {
    flag: '--allow-future-nodes',
    value: null,
    key: 'allowFutureNodes',
    field: 'allowFutureNodes',
    help: 'accept the job even if no present node could run it',
  },
];

/** Input form of a job or of an override: what is not given is absent. */
export type SpecInput = Readonly<Record<string, unknown>>;

/** The input form that the flags say, unchecked. */
export function specInputFromFlags(values: RunFlagValues): SpecInput {
  return given({
    name: values.name,
    namespace: values.namespace,
    priority: integerOrText(values.priority),
    labels: pairs(values.label),
    hold: values.hold,
    gang: values.gang,
    allowFutureNodes: values.allowFutureNodes,
    array: values.array,
    count: integerOrText(values.count),
    maxParallel: integerOrText(values.maxParallel),
    targets: values.target,
    prefer: values.prefer,
    deadline: values.deadline,
    image: values.image,
    container: unlessEmpty({ pull: values.pull, network: values.network }),
    command: values.command,
    script: values.script,
    args: values.args,
    env: pairs(values.env),
    secrets: values.secret?.map(secretInput),
    user: values.user,
    workdir: values.workdir,
    resources: unlessEmpty({
      cpus: values.cpus,
      pinCpus: values.pinCpus,
      memory: values.memory,
      disk: values.disk,
      gpus: gpusInput(values),
      licences: counts(values.licence),
    }),
    exclusive: values.exclusive,
    constraints: values.constraint,
    timeLimit: values.timeLimit,
    retry: unlessEmpty({ maxAttempts: integerOrText(values.retry), backoff: values.retryBackoff, on: values.retryOn }),
    logLimit: values.logLimit,
    stop: unlessEmpty({ signal: values.stopSignal, grace: values.stopGrace }),
  });
}

const COUNT_AND_MODEL = /^(\d+):(.+)$/;

function gpusInput({ gpus, gpuModel, gpuMinMemory, gpuShare, gpuMemory, gpuMig }: RunFlagValues): unknown {
  const both = COUNT_AND_MODEL.exec(gpus ?? '');
  const count = integerOrText(both?.[1] ?? gpus);
  const model = gpuModel ?? both?.[2];
  const beside = given({ model, minMemory: gpuMinMemory, share: gpuShare, memory: gpuMemory, mig: gpuMig });
  return Object.keys(beside).length === 0 ? count : given({ count, ...beside });
}

/** `NAME=VALUE` entries as a map; one without `=` keeps a null, which the parser refuses by its name. */
function pairs(entries: readonly string[] | undefined): SpecInput | undefined {
  if (entries === undefined) return undefined;
  const split = entries.map((entry): [string, string | null] => {
    const at = entry.indexOf('=');
    return at < 0 ? [entry, null] : [entry.slice(0, at), entry.slice(at + 1)];
  });
  return Object.fromEntries(split);
}

/** `token=env:TOKEN` as `{name, env}`; what is neither env nor file is left for the parser to refuse by its name. */
function secretInput(entry: string): SpecInput | string {
  const [, name = '', place = '', value = ''] = /^([^=]*)=([^:]*):?(.*)$/s.exec(entry) ?? [];
  return name === '' ? entry : { name, [place]: value };
}

/** `NAME=2` entries as a map of numbers. */
function counts(entries: readonly string[] | undefined): SpecInput | undefined {
  const texts = Object.entries(pairs(entries) ?? {}).map(([name, text]) => [
    name,
    integerOrText(text as string | null),
  ]);
  return texts.length === 0 ? undefined : Object.fromEntries(texts);
}

/** Text that is no integer is left for the parser to name in its refusal. */
function integerOrText(text: string | null | undefined): number | string | null | undefined {
  return typeof text === 'string' && /^[+-]?\d{1,15}$/.test(text) ? Number(text) : text;
}

function given(fields: SpecInput): SpecInput {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function unlessEmpty(fields: SpecInput): SpecInput | undefined {
  const some = given(fields);
  return Object.keys(some).length === 0 ? undefined : some;
}
