import { MAIN_STEP, STEP_NAME } from '../ids.js';
import { shown } from '../units.js';
import { readArray } from './array.js';
import { readConstraints } from './constraints.js';
import { readContainerOf } from './container.js';
import { readEnv } from './env.js';
import { STEP_SHAPE } from './fields.js';
import { child, type Field, invalid, isRecord, item } from './findings.js';
import { readInputs, readOutputs } from './inputs.js';
import { hasShape, readBoolean, readInteger, readList, readOneOf, readOr, readText } from './read.js';
import { readResources } from './resources.js';
import { readRun } from './run.js';
import { readRetry, readStop, readTimeLimit } from './run-policy.js';
import { readSecrets } from './secrets.js';
import { readLogLimit } from './sizes.js';
import { type DriverName, SPEC_LIMITS, type StepSpec } from './spec.js';
import { checkStaging, withNeedsOfEdges } from './step-edges.js';
import { inDependencyOrder } from './step-order.js';
import { readTargets } from './targets.js';
import { taskCountOf } from './task-indexes.js';
import { readVolumes } from './volumes.js';

/** The steps of a list, in dependency order. */
export function readSteps(field: Field): readonly StepSpec[] {
  if (!Array.isArray(field.value)) {
    invalid(field, 'must be a list of steps, each with "name" and "command" or "script"');
    return [];
  }
  if (field.value.length === 0) invalid(field, 'is empty; a job has at least one step');
  if (field.value.length > SPEC_LIMITS.maxSteps) {
    invalid(field, `has ${field.value.length} steps; at most ${SPEC_LIMITS.maxSteps} are allowed`);
    return [];
  }
  const isOnly = field.value.length === 1;
  const fields = field.value.map((value, position) => item(field, position, value));
  const steps = fields.map((step) => readListedStep(step, isOnly));
  checkStaging(steps, fields);
  return inDependencyOrder(steps, fields);
}

/** Reads the fields of a step that may also stand at the top of a one-step job; `name` is known by now. */
export function readStep(field: Field, name: string): StepSpec {
  const image = readOr(child(field, 'image'), readImage, null);
  const maxParallel = readOr(child(field, 'maxParallel'), readMaxParallel, undefined);
  const array = readArray(field);
  const driver = readDriver(field, image);
  checkPinning(field, driver);
  const checkpoint = child(field, 'checkpoint');
  const logLimitMiB = readOr(child(field, 'logLimit'), readLogLimit, undefined);
  const env = readOr(child(field, 'env'), readEnv, {});
  const secrets = readOr(child(field, 'secrets'), (list) => readSecrets(list, env), undefined);
  return {
    name,
    needs: [],
    array,
    ...(maxParallel === undefined ? {} : { maxParallel }),
    ...(readOr(child(field, 'gang'), readBoolean, false) ? readGang(field, { array, maxParallel }) : {}),
    driver,
    ...readTargets(field),
    image,
    ...readContainerOf(field, image),
    run: readRun(field),
    env,
    ...(secrets === undefined ? {} : { secrets }),
    ...readUser(field),
    workdir: readOr(child(field, 'workdir'), readWorkdir, null),
    resources: readResources(child(field, 'resources')),
    ...readExclusive(field),
    constraints: readOr(child(field, 'constraints'), readConstraints, []),
    timeLimitMs: readOr(child(field, 'timeLimit'), readTimeLimit, null),
    retry: readRetry(child(field, 'retry')),
    stop: readStop(child(field, 'stop')),
    ...(checkpoint.value === undefined ? {} : { checkpoint: readStop(checkpoint) }),
    ...(logLimitMiB === undefined ? {} : { logLimitMiB }),
    ...readStaging(field),
  };
}

function readStaging(field: Field): Pick<StepSpec, 'inputs' | 'outputs' | 'volumes'> {
  const inputs = readOr(child(field, 'inputs'), readInputs, undefined);
  const outputs = readOr(child(field, 'outputs'), readOutputs, undefined);
  const volumes = readOr(child(field, 'volumes'), readVolumes, undefined);
  return {
    ...(inputs === undefined ? {} : { inputs }),
    ...(outputs === undefined ? {} : { outputs }),
    ...(volumes === undefined ? {} : { volumes }),
  };
}

const USER_NAME = /^[A-Za-z_][A-Za-z0-9_.-]*$/;

/** A container's user is its image's affair. */
function readUser(step: Field): Pick<StepSpec, 'user'> {
  const field = child(step, 'user');
  if (field.value === undefined) return {};
  const user = readText(field, 'the name of a user');
  if (user === undefined) return {};
  if (child(step, 'driver').value === 'docker' || child(step, 'image').value !== undefined) {
    invalid(field, 'does not go with an image; remove it');
  }
  if (!USER_NAME.test(user) || user.length > SPEC_LIMITS.maxUserLength) {
    invalid(field, 'is no name of a user; write it as in /etc/passwd');
  }
  return { user };
}

/** A container's cores are not allotted. */
function checkPinning(step: Field, driver: DriverName): void {
  const field = child(child(step, 'resources'), 'pinCpus');
  if (driver === 'docker' && field.value === true) invalid(field, 'does not go with an image; remove it');
}

/** A node of its own has whole devices, so a part of one would say nothing. */
function readExclusive(step: Field): Pick<StepSpec, 'exclusive'> {
  if (!readOr(child(step, 'exclusive'), readBoolean, false)) return {};
  const gpus = child(child(step, 'resources'), 'gpus');
  for (const part of ['share', 'memory']) {
    const given = child(gpus, part);
    if (given.value !== undefined) invalid(given, 'does not go with "exclusive"; write a "count" of whole GPUs');
  }
  return { exclusive: true };
}

/** A gang's tasks all run at once, so what bounds them at fewer contradicts it. */
function readGang(
  step: Field,
  { array, maxParallel }: { readonly array: string; readonly maxParallel: number | undefined },
): Pick<StepSpec, 'gang'> {
  const size = taskCountOf({ array });
  if (size > SPEC_LIMITS.maxGangSize) {
    const remedy = `at most ${SPEC_LIMITS.maxGangSize} start together; ask for fewer, or remove "gang"`;
    invalid(child(step, 'gang'), `has ${size} ranks; ${remedy}`);
  }
  if (maxParallel !== undefined && maxParallel < size) {
    const remedy = 'all ranks of a gang run at once; remove one of the two';
    invalid(child(step, 'maxParallel'), `is ${maxParallel} for a gang of ${size}; ${remedy}`);
  }
  return { gang: true };
}

function readMaxParallel(field: Field): number | undefined {
  return readInteger(field, { what: 'a number of tasks at once', min: 1, max: SPEC_LIMITS.maxTasksPerStep });
}

function readListedStep(field: Field, isOnly: boolean): StepSpec {
  hasShape(field, STEP_SHAPE, 'a step, which is an object with fields');
  const name = child(field, 'name');
  if (name.value === undefined && !isOnly && isRecord(field.value)) {
    invalid(name, 'is missing; with several steps each has a name');
  }
  const step = readStep(field, readOr(name, readStepName, isOnly ? MAIN_STEP : ''));
  return withNeedsOfEdges({ ...step, needs: readOr(child(field, 'needs'), readNeeds, []) });
}

function readStepName(field: Field): string | undefined {
  const name = readText(field, 'a name');
  if (name === undefined || STEP_NAME.test(name)) return name;
  return invalid(
    field,
    `${shown(name)} is not a step name; start with a lower-case letter, then lower-case letters, digits and dashes, 63 at most`,
  );
}

/** Whether the steps exist is checked when all are known. */
function readNeeds(field: Field): readonly string[] | undefined {
  if (typeof field.value === 'string') return [field.value];
  const needs = readList(field, SPEC_LIMITS.maxSteps, (entry) => readText(entry, 'the name of a step'));
  return needs && [...new Set(needs)];
}

function readDriver(step: Field, image: string | null): DriverName {
  const field = child(step, 'driver');
  const driver = readOr(field, readDriverName, image === null ? 'process' : 'docker');
  if (driver === 'docker' && child(step, 'image').value === undefined) {
    invalid(child(step, 'image'), 'is missing; the docker driver runs a container image, for example python:3.12');
  }
  if (driver === 'process' && field.value === 'process' && image !== null) {
    invalid(child(step, 'image'), 'is only for the docker driver; remove it or write "driver: docker"');
  }
  return driver;
}

function readDriverName(field: Field): DriverName | undefined {
  return readOneOf(field, ['process', 'docker']);
}

const IMAGE = /^[^\s]+$/;

function readImage(field: Field): string | undefined {
  const image = readText(field, 'a container image');
  if (image === undefined) return undefined;
  if (!IMAGE.test(image)) return invalid(field, `${shown(image)} is not an image; write for example python:3.12`);
  return isShortEnough(field, image) ? image : undefined;
}

function readWorkdir(field: Field): string | undefined {
  const path = readText(field, 'a path');
  if (path === undefined) return undefined;
  if (!path.startsWith('/')) return invalid(field, `${shown(path)} is not absolute; write the path on the node from /`);
  return isShortEnough(field, path) ? path : undefined;
}

function isShortEnough(field: Field, text: string): boolean {
  if (text.length <= SPEC_LIMITS.maxPathLength) return true;
  invalid(field, `is ${text.length} characters long; at most ${SPEC_LIMITS.maxPathLength} are allowed`);
  return false;
}
