import type { ObjectShape } from './read.js';

/**
 * Which fields the input form has. A field that this version cannot honour is refused, never ignored, with what to
 * do instead.
 */
const UNSUPPORTED = {
  pools: 'is written as "targets": ["pool/small", "pool/large"]',
  pool: 'is written as "target": "pool/NAME"',
  privileged: 'a container with all power over its node is not supported; name what it needs in "container.capAdd"',
};

const JOB_FIELDS = ['name', 'namespace', 'priority', 'labels', 'hold', 'allowFutureNodes'] as const;

/** Fields of a step that also stand at the top of a one-step job. */
export const STEP_FIELDS = [
  'array',
  'count',
  'maxParallel',
  'gang',
  'driver',
  'target',
  'targets',
  'prefer',
  'deadline',
  'image',
  'container',
  'command',
  'script',
  'args',
  'env',
  'secrets',
  'user',
  'workdir',
  'resources',
  'exclusive',
  'constraints',
  'timeLimit',
  'retry',
  'stop',
  'checkpoint',
  'logLimit',
  'inputs',
  'outputs',
  'volumes',
] as const;

const RESOURCE_FIELDS = ['cpus', 'pinCpus', 'memory', 'disk', 'gpus', 'licences'] as const;
const CONTAINER_FIELDS = [
  'user',
  'readOnly',
  'tmpfs',
  'shmSize',
  'network',
  'pidsLimit',
  'capAdd',
  'pull',
  'entrypoint',
] as const;
const RETRY_FIELDS = ['maxAttempts', 'backoff', 'on'] as const;
const STOP_FIELDS = ['signal', 'grace'] as const;

const NESTED_STEP_FIELDS = Object.fromEntries([
  ...RESOURCE_FIELDS.map((name) => [name, `resources.${name}`] as const),
  ['licenses', 'resources.licences'],
  ...CONTAINER_FIELDS.map((name) => [name, `container.${name}`] as const),
  ...RETRY_FIELDS.map((name) => [name, `retry.${name}`] as const),
  ...STOP_FIELDS.map((name) => [name, `stop.${name}`] as const),
]);

export const JOB_SHAPE: ObjectShape = {
  fields: [...JOB_FIELDS, 'steps', ...STEP_FIELDS],
  unsupported: UNSUPPORTED,
  elsewhere: { ...NESTED_STEP_FIELDS, needs: 'steps[].needs' },
};

export const STEP_SHAPE: ObjectShape = {
  fields: ['name', 'needs', ...STEP_FIELDS],
  unsupported: UNSUPPORTED,
  elsewhere: NESTED_STEP_FIELDS,
};

export const RESOURCES_SHAPE: ObjectShape = {
  fields: RESOURCE_FIELDS,
  elsewhere: { licenses: 'licences', exclusive: 'exclusive: true" beside "resources' },
};

export const GPUS_SHAPE: ObjectShape = { fields: ['count', 'model', 'minMemory', 'share', 'memory', 'mig'] };

export const CONTAINER_SHAPE: ObjectShape = {
  fields: CONTAINER_FIELDS,
  unsupported: { privileged: UNSUPPORTED.privileged },
};
export const RETRY_SHAPE: ObjectShape = { fields: RETRY_FIELDS };
export const STOP_SHAPE: ObjectShape = { fields: STOP_FIELDS };
export const SECRET_SHAPE: ObjectShape = { fields: ['name', 'env', 'file'] };
export const CONSTRAINT_SHAPE: ObjectShape = { fields: ['key', 'op', 'values'] };
export const INPUT_SHAPE: ObjectShape = { fields: ['from', 'content', 'to', 'sha256', 'mode'] };
export const EDGE_SHAPE: ObjectShape = { fields: ['step', 'path', 'tasks'] };
export const OUTPUT_SHAPE: ObjectShape = { fields: ['path', 'as', 'required'] };
export const VOLUME_SHAPE: ObjectShape = { fields: ['name', 'mount', 'readOnly', 'subpath'] };
