import Type from 'typebox';
import { RETRYABLE_ENDS, SIGNAL_NAMES } from '../outcome.js';
import { SECRET_NAME } from '../secrets.js';
import { USER_PATTERN } from './container.js';
import { STEP_FIELDS } from './fields.js';
import { PRIORITY_CLASSES } from './priority.js';
import { stagingFields } from './schema-staging.js';
import { CONTAINER_NETWORKS, PREFERENCES, PULL_POLICIES, SPEC_DEFAULTS, SPEC_LIMITS } from './spec.js';

/**
 * The input form as JSON Schema, for editors and the API's description.
 *
 * It says what has the right shape; `parseJobSpec` decides, and says more: units, circles, names that do not exist.
 * Keywords are limited to those that draft-07 has too, since validators of that age are still common.
 */
const NAME_PATTERN = '^[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$';
const STEP_NAME_PATTERN = '^[a-z][a-z0-9-]{0,62}$';
const SIZE_PATTERN = '^\\s*\\d+(\\.\\d+)?\\s*([kKmMgGtTpP][iI]?)?[bB]\\s*$';
const DURATION_PATTERN = '^\\s*(\\d+(\\.\\d+)?(ms|d|h|m|s)\\s*)+$';
const CPUS_PATTERN = '^\\s*\\d+(\\.\\d+)?m?\\s*$';
const RANGES_PATTERN = '^\\s*\\d+(-\\d+(:\\d+)?)?\\s*(,\\s*\\d+(-\\d+(:\\d+)?)?\\s*)*$';
const ENV_NAME_PATTERN = '^(?!BERTH_)[A-Za-z_][A-Za-z0-9_]*$';

const closed = { additionalProperties: false } as const;

const scalar = Type.Union([Type.String(), Type.Number(), Type.Boolean()]);
const name = (description: string) => Type.String({ pattern: NAME_PATTERN, description });
const size = (description: string) =>
  Type.String({ pattern: SIZE_PATTERN, examples: ['15GiB', '512MiB'], description });
const duration = (description: string) =>
  Type.String({ pattern: DURATION_PATTERN, examples: ['90s', '1h30m'], description });
const names = <const Names extends readonly string[]>(values: Names, description: string) =>
  Type.Union(
    values.map((value) => Type.Literal(value)),
    { description },
  );

const MIG_PATTERN = '^\\s*(\\d+[cC]\\.)?\\d+[gG]\\.\\d+[gG][bB]([+-][A-Za-z0-9.]+)*\\s*$';

const gpuModel = Type.String({ minLength: 1, maxLength: SPEC_LIMITS.maxValueLength });

const gpus = Type.Union(
  [
    Type.Integer({ minimum: 0, maximum: SPEC_LIMITS.maxGpus }),
    Type.Object(
      {
        count: Type.Optional(Type.Integer({ minimum: 0, maximum: SPEC_LIMITS.maxGpus })),
        model: Type.Optional(
          Type.Union([gpuModel, Type.Array(gpuModel, { minItems: 1, maxItems: SPEC_LIMITS.maxGpuModels })], {
            description: "Part of the model's name, or a list of which any will do; case is ignored.",
          }),
        ),
        minMemory: Type.Optional(size('Memory that each GPU has at least.')),
        share: Type.Optional(
          Type.Union([Type.Number({ exclusiveMinimum: 0, maximum: 1 }), Type.String({ pattern: CPUS_PATTERN })], {
            description: 'Share of one GPU: 0.25 or "250m". It goes with a count of 1, which may be left out.',
          }),
        ),
        memory: Type.Optional(size('Memory to hold of each GPU, which is shared; the count may be left out for 1.')),
        mig: Type.Optional(
          Type.String({
            pattern: MIG_PATTERN,
            maxLength: SPEC_LIMITS.maxValueLength,
            examples: ['1g.5gb'],
            description: 'Profile of the MIG slices to take; the count may be left out for 1.',
          }),
        ),
      },
      {
        ...closed,
        anyOf: ['count', 'share', 'memory', 'mig'].map((part) => ({ required: [part] })),
        not: {
          anyOf: [
            { required: ['share', 'memory'] },
            { required: ['mig', 'share'] },
            { required: ['mig', 'memory'] },
            { required: ['share', 'count'], properties: { count: { not: { const: 1 } } } },
          ],
        },
      },
    ),
  ],
  { description: 'GPUs: a count, or a count with a model or memory, or a share of one, or MIG slices.' },
);

const licences = Type.Record(Type.String(), Type.Integer({ minimum: 1, maximum: SPEC_LIMITS.maxLicenceCount }), {
  propertyNames: { pattern: NAME_PATTERN },
  maxProperties: SPEC_LIMITS.maxLicences,
  description: 'Licences that a task holds, counted in the whole cluster: {matlab: 1}.',
});

const resources = Type.Object(
  {
    cpus: Type.Optional(
      Type.Union([Type.Number({ exclusiveMinimum: 0 }), Type.String({ pattern: CPUS_PATTERN })], {
        description: `Processors: 2, 0.5 or "250m". Default ${SPEC_DEFAULTS.cpuMillis / 1_000}.`,
      }),
    ),
    pinCpus: Type.Optional(
      Type.Boolean({
        description: 'The CPUs, a whole number, are cores that no other pinned task has. Not with an image.',
        default: false,
      }),
    ),
    memory: Type.Optional(size(`Memory. Default ${SPEC_DEFAULTS.memoryMiB}MiB.`)),
    disk: Type.Optional(
      size('Scratch space. A process task that has more is stopped. Default none, which nothing limits.'),
    ),
    gpus: Type.Optional(gpus),
    licences: Type.Optional(licences),
  },
  { ...closed, description: 'What one task needs.' },
);

const constraint = Type.Union([
  Type.String({ minLength: 1, examples: ['label:zone=eu', 'arch in (x64, arm64)', 'label:ssd', '!label:spot'] }),
  Type.Object(
    {
      key: Type.String({ description: 'label:NAME, or a node attribute such as arch.' }),
      op: names(['in', 'not-in', 'exists', 'absent'], 'How the value is compared.'),
      values: Type.Optional(Type.Array(scalar, { maxItems: SPEC_LIMITS.maxConstraintValues })),
    },
    closed,
  ),
]);

const container = Type.Object(
  {
    user: Type.Optional(
      Type.String({ pattern: USER_PATTERN, examples: ['1000:1000', 'nobody'], description: "Default the image's." }),
    ),
    readOnly: Type.Optional(Type.Boolean({ description: 'Its file system cannot be written to.' })),
    tmpfs: Type.Optional(
      Type.Array(Type.String({ pattern: '^/[^,:]+$' }), {
        maxItems: SPEC_LIMITS.maxTmpfs,
        description: 'Absolute paths that are in memory.',
      }),
    ),
    shmSize: Type.Optional(size('Shared memory, /dev/shm.')),
    network: Type.Optional(names(CONTAINER_NETWORKS, 'Default as its node has it; host only where it is allowed.')),
    pidsLimit: Type.Optional(
      Type.Integer({ minimum: 1, maximum: SPEC_LIMITS.maxPids, description: 'Processes at once.' }),
    ),
    capAdd: Type.Optional(
      Type.Array(Type.String({ pattern: '^[A-Z_]+$' }), {
        maxItems: SPEC_LIMITS.maxCapabilities,
        description: 'Capabilities to keep; all others are dropped.',
      }),
    ),
    pull: Type.Optional(names(PULL_POLICIES, 'When the image is pulled. Default missing.')),
    entrypoint: Type.Optional(
      Type.Literal('image', { description: "The command goes to the image's entry point instead of replacing it." }),
    ),
  },
  { ...closed, description: 'How the container differs from the usual.' },
);

const retry = Type.Object(
  {
    maxAttempts: Type.Optional(Type.Integer({ minimum: 1, maximum: SPEC_LIMITS.maxAttempts, description: 'In all.' })),
    backoff: Type.Optional(duration('Wait before the second attempt; doubles with each further one.')),
    on: Type.Optional(
      Type.Array(names(RETRYABLE_ENDS, 'An end.'), {
        description:
          'Ends after which the task is tried again. Default: lost and rejected; when maxAttempts is given, all but time-limit. Rejections by nodes count against no maxAttempts but 1, and are tried again for about ten hours.',
      }),
    ),
  },
  { ...closed, description: 'When a task is tried again.' },
);

const stop = (description: string) =>
  Type.Object(
    {
      signal: Type.Optional(
        Type.String({
          enum: SIGNAL_NAMES.flatMap((signal) => [signal, signal.slice(3)]),
          description: 'Default SIGTERM.',
        }),
      ),
      grace: Type.Optional(duration('Time to stop by itself before SIGKILL. Default 30s.')),
    },
    { ...closed, description },
  );

const array = Type.Union(
  [
    Type.String({ pattern: RANGES_PATTERN, examples: ['1-100', '1-9:2,20'] }),
    Type.Array(Type.Integer({ minimum: 0 }), { minItems: 1 }),
  ],
  { description: 'Task indexes.' },
);

const place = (description: string) =>
  Type.String({
    pattern: '^(cluster|(hpc|pool)/[A-Za-z0-9].*)$',
    examples: ['hpc/prometheus', 'pool/small', 'cluster'],
    description,
  });

const secretName = (description: string) => Type.String({ pattern: SECRET_NAME.source, description });

const secrets = Type.Array(
  Type.Union([
    secretName('A secret, as a file of its name.'),
    Type.Object(
      {
        name: secretName("The secret's name in the job's namespace."),
        env: Type.Optional(Type.String({ pattern: ENV_NAME_PATTERN, description: 'Variable that holds it.' })),
        file: Type.Optional(secretName('Its file in the folder BERTH_SECRETS_DIR; the default without "env".')),
      },
      closed,
    ),
  ]),
  { maxItems: SPEC_LIMITS.maxSecrets, description: 'Secrets that its tasks get, as variables or files.' },
);

const stepFields = {
  array: Type.Optional(array),
  count: Type.Optional(
    Type.Integer({ minimum: 1, maximum: SPEC_LIMITS.maxTasksPerStep, description: 'So many tasks, indexes from 0.' }),
  ),
  maxParallel: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: SPEC_LIMITS.maxTasksPerStep,
      description: 'So many of its tasks at once, at most.',
    }),
  ),
  gang: Type.Optional(
    Type.Boolean({
      description: `The tasks are ranks that start together or not at all; ${SPEC_LIMITS.maxGangSize} at most.`,
      default: false,
    }),
  ),
  driver: Type.Optional(names(['process', 'docker'], 'Default docker when an image is given, else process.')),
  target: Type.Optional(place('Where it runs; default: on any node of this cluster.')),
  targets: Type.Optional(
    Type.Array(place('A place.'), {
      minItems: 1,
      maxItems: SPEC_LIMITS.maxTargets,
      uniqueItems: true,
      description: 'Places to choose from, in place of "target".',
    }),
  ),
  prefer: Type.Optional(
    names(PREFERENCES, 'What decides between several targets. Default time, or price where there is a deadline.'),
  ),
  deadline: Type.Optional(
    duration('Take the cheapest target that is expected to be done so long after the submission, else the soonest.'),
  ),
  image: Type.Optional(Type.String({ pattern: '^\\S+$', description: 'Container image; for the docker driver.' })),
  container: Type.Optional(container),
  command: Type.Optional(
    Type.Array(scalar, { minItems: 1, maxItems: SPEC_LIMITS.maxArgs, description: 'Program and arguments; no shell.' }),
  ),
  script: Type.Optional(Type.String({ minLength: 1, description: 'Script; /bin/sh runs it unless it has a #! line.' })),
  args: Type.Optional(Type.Array(scalar, { maxItems: SPEC_LIMITS.maxArgs, description: 'Arguments of the script.' })),
  env: Type.Optional(
    Type.Record(Type.String(), scalar, {
      propertyNames: { pattern: ENV_NAME_PATTERN },
      maxProperties: SPEC_LIMITS.maxEnvEntries,
      description: 'Environment variables.',
    }),
  ),
  secrets: Type.Optional(secrets),
  user: Type.Optional(
    Type.String({
      pattern: '^[A-Za-z_][A-Za-z0-9_.-]*$',
      maxLength: SPEC_LIMITS.maxUserLength,
      description: 'Whom the node runs it as; its agent must allow that. Not with an image.',
    }),
  ),
  workdir: Type.Optional(Type.String({ pattern: '^/', description: 'Absolute path; default a fresh directory.' })),
  resources: Type.Optional(resources),
  exclusive: Type.Optional(
    Type.Boolean({
      description: 'The task has its node to itself; its resources are the least that the node must have.',
      default: false,
    }),
  ),
  constraints: Type.Optional(
    Type.Array(constraint, {
      maxItems: SPEC_LIMITS.maxConstraints,
      description: 'Conditions on the node; all must hold.',
    }),
  ),
  timeLimit: Type.Optional(duration('A task that runs longer is stopped.')),
  retry: Type.Optional(retry),
  stop: Type.Optional(stop('How a task is asked to stop.')),
  checkpoint: Type.Optional(
    stop('How a task that will be tried again is asked to go: for a drain, a preemption, a lost rank. Default: stop.'),
  ),
  logLimit: Type.Optional(size('Kept of each output stream of a task, at most what the coordinator keeps.')),
  ...stagingFields,
};

/** What a step's fields may not be together. */
const partOfGpu = {
  properties: { gpus: { type: 'object', anyOf: [{ required: ['share'] }, { required: ['memory'] }] } },
};
const pinned = { required: ['pinCpus'], properties: { pinCpus: { const: true } } };
const runRules = [
  {
    not: {
      required: ['exclusive', 'resources'],
      properties: { exclusive: { const: true }, resources: { required: ['gpus'], ...partOfGpu } },
    },
  },
  { not: { required: ['command', 'args'] } },
  { not: { required: ['array', 'count'] } },
  { not: { required: ['target', 'targets'] } },
  ...['prefer', 'deadline'].map((field) => ({
    anyOf: [{ required: ['targets'], properties: { targets: { minItems: 2 } } }, { not: { required: [field] } }],
  })),
  { not: { required: ['user', 'image'] } },
  { not: { required: ['user', 'driver'], properties: { driver: { const: 'docker' } } } },
  { not: { required: ['image', 'resources'], properties: { resources: pinned } } },
  { anyOf: [{ required: ['image'] }, { not: { required: ['container'] } }] },
  { not: { required: ['driver', 'image'], properties: { driver: { const: 'process' } } } },
  { anyOf: [{ required: ['image'] }, { not: { required: ['driver'], properties: { driver: { const: 'docker' } } } }] },
];

const needs = Type.Union([Type.String(), Type.Array(Type.String())], {
  description: 'Steps that must succeed first.',
});

const step = Type.Object(
  {
    name: Type.Optional(Type.String({ pattern: STEP_NAME_PATTERN, description: 'Unique in the job.' })),
    needs: Type.Optional(needs),
    ...stepFields,
  },
  { ...closed, oneOf: [{ required: ['command'] }, { required: ['script'] }], allOf: runRules },
);

const priority = Type.Union(
  [
    Type.Integer({ minimum: PRIORITY_CLASSES.lowest, maximum: PRIORITY_CLASSES.highest }),
    names(Object.keys(PRIORITY_CLASSES), ''),
  ],
  { description: 'Higher goes first.', default: SPEC_DEFAULTS.priority },
);

const steps = Type.Array(step, { minItems: 1, maxItems: SPEC_LIMITS.maxSteps, description: 'Steps in any order.' });

/** The input form: a job with `steps`, or a one-step job whose step's fields stand at the top. */
export const jobSpecSchema = Type.Object(
  {
    name: Type.Optional(name("Default: the command's name.")),
    namespace: Type.Optional(name(`Default: ${SPEC_DEFAULTS.namespace}.`)),
    priority: Type.Optional(priority),
    labels: Type.Optional(
      Type.Record(Type.String(), scalar, {
        propertyNames: { pattern: NAME_PATTERN },
        maxProperties: SPEC_LIMITS.maxLabels,
        description: 'For finding jobs again.',
      }),
    ),
    hold: Type.Optional(Type.Boolean({ description: 'Start nothing until the job is released.', default: false })),
    allowFutureNodes: Type.Optional(
      Type.Boolean({ description: 'Accept the job even if no present node could ever run it.', default: false }),
    ),
    steps: Type.Optional(steps),
    ...stepFields,
  },
  {
    ...closed,
    description: 'A job: what runs, how often, with what.',
    oneOf: [{ required: ['steps'] }, { required: ['command'] }, { required: ['script'] }],
    allOf: [...runRules, ...STEP_FIELDS.map((field) => ({ not: { required: ['steps', field] } }))],
  },
);

/** The schema as a document of its own, for `berth schema` and for editors. */
export function jobSpecJsonSchema(): Readonly<Record<string, unknown>> {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: 'urn:berth:schema:job-spec',
    title: 'Berth job specification',
    ...jobSpecSchema,
  };
}
