import { AppError, isRefusal, type Refusal } from '../../shared/errors.js';
import { child, type Field, hint, invalid, isRecord, refusalOf } from '../../shared/job-spec/findings.js';
import { parseJobSpec } from '../../shared/job-spec/parse.js';
import { hasShape, readInteger, readList, readOneOf, readOr, readText } from '../../shared/job-spec/read.js';
import { readDuration } from '../../shared/job-spec/sizes.js';
import { readYaml } from '../../shared/job-spec/yaml.js';

import { POOL_LABEL, type PoolSpec } from '../../shared/pool.js';
import { readPools } from '../../shared/pool-spec/parse.js';
import { shown } from '../../shared/units.js';
import { type JobType, readArrivals } from './read-arrivals.js';
import { ALLOWANCES, allowed, FAILURE_KINDS, type PoolFailure, type Scenario } from './scenario.js';

const SCENARIO_FIELDS = ['window', 'seed', 'jitter', 'allow', 'pools', 'jobs', 'arrivals', 'failures'];
/** What a job of a scenario may say beside how long it runs and where, as in a job specification. */
const SPEC_FIELDS = ['resources', 'exclusive', 'priority', 'constraints', 'timeLimit', 'array', 'count', 'gang'];
const JOB_FIELDS = ['run', 'pool', ...SPEC_FIELDS];
const FAILURE_FIELDS = ['pool', 'kind', 'from', 'until'];
const MAX_FAILURES = 1_000;
const MAX_SPAN_MS = 366 * 24 * 3_600_000;
const MAX_SEED = 2 ** 32 - 1;
const MAX_JITTER = 0.9;

/**
 * The scenario in a YAML document. Every problem, also of its arrivals, is reported at once, with its line.
 *
 * @param readFile  the text of a file that the scenario names; it throws what the file system throws
 */
export function parseScenario(text: string, readFile: (path: string) => string): Scenario | Refusal {
  const { input, findings, locate } = readYaml(text);
  if (findings.length > 0) return refusalOf(findings);
  const root: Field = { path: [], value: input, findings: [] };
  const scenario = readScenario(root, readFile);
  return scenario === undefined || root.findings.length > 0 ? refusalOf(root.findings, locate) : scenario;
}

function readScenario(root: Field, readFile: (path: string) => string): Scenario | undefined {
  if (!hasShape(root, { fields: SCENARIO_FIELDS }, 'a scenario, which is an object with fields')) return undefined;
  for (const name of ['pools', 'jobs', 'arrivals'])
    if (child(root, name).value === undefined) invalid(child(root, name), 'is missing');
  const allow = readOr(child(root, 'allow'), (field) => readList(field, ALLOWANCES.length, readAllowance), []);
  const pools = allowed(
    readOr(child(root, 'pools'), (field) => readPools(field, 'simulated'), []),
    allow,
  );
  const types = readOr(child(root, 'jobs'), (field) => readTypes(field, pools), new Map<string, JobType>());
  return {
    windowMs: readOr(child(root, 'window'), readSpan, null),
    seed: readOr(child(root, 'seed'), (field) => readInteger(field, { what: 'a seed', min: 0, max: MAX_SEED }), 1),
    jitter: readOr(child(root, 'jitter'), readJitter, 0),
    pools,
    arrivals: readOr(child(root, 'arrivals'), (field) => readArrivalFile(field, types, readFile), []),
    failures: readOr(child(root, 'failures'), (field) => readFailures(field, pools), []),
  };
}

function readAllowance(field: Field): (typeof ALLOWANCES)[number] | undefined {
  return readOneOf(field, ALLOWANCES);
}

function readSpan(field: Field): number | undefined {
  return readDuration(field, { minMs: 1, maxMs: MAX_SPAN_MS });
}

function readMoment(field: Field): number | undefined {
  return readDuration(field, { minMs: 0, maxMs: MAX_SPAN_MS });
}

function readJitter(field: Field): number | undefined {
  const { value } = field;
  if (typeof value === 'number' && value >= 0 && value <= MAX_JITTER) return value;
  return invalid(field, `${shown(value)} is not a share; write a number from 0 to ${MAX_JITTER}`);
}

function readTypes(field: Field, pools: readonly PoolSpec[]): ReadonlyMap<string, JobType> | undefined {
  if (!isRecord(field.value)) return invalid(field, `${shown(field.value)} is not a map of kinds of job`);
  const types = new Map<string, JobType>();
  for (const name of Object.keys(field.value)) types.set(name, readType(child(field, name), { name, pools }));
  return types;
}

function readType(field: Field, { name, pools }: { name: string; pools: readonly PoolSpec[] }): JobType {
  const given = hasShape(field, { fields: JOB_FIELDS }, 'a kind of job, which is an object with fields');
  const run = child(field, 'run');
  if (given && run.value === undefined) invalid(run, 'is missing; say how long a task runs, as in 4m');
  const pool = readOr(child(field, 'pool'), (own) => readPoolName(own, pools), undefined);
  return { runMs: readOr(run, readSpan, 0), spec: readSpec(field, { name, pool }) };
}

function readPoolName(field: Field, pools: readonly PoolSpec[]): string | undefined {
  const name = readText(field, 'the name of a pool');
  const names = pools.map((pool) => pool.name);
  if (name === undefined || names.includes(name)) return name;
  return invalid(field, `there is no pool ${shown(name)}${hint(field, name, names)}`);
}

/** The job as a client would submit it. */
function readSpec(field: Field, { name, pool }: { name: string; pool: string | undefined }): JobType['spec'] {
  const own = SPEC_FIELDS.flatMap((key): [string, unknown][] => {
    const { value } = child(field, key);
    return value === undefined ? [] : [[key, value]];
  });
  const given = Object.fromEntries(own);
  const wanted = Array.isArray(given.constraints) ? given.constraints : [];
  const constraints = pool === undefined ? wanted : [...wanted, `label:${POOL_LABEL}=${pool}`];
  const spec = parseJobSpec({ ...given, name, command: ['simulated'], constraints });
  if (!isRefusal(spec)) return spec;
  for (const { field: path, message } of spec.problems ?? [])
    field.findings.push({ kind: 'invalid', path: [...field.path, path], message });
  return STAND_IN;
}

/** Stands for a job that could not be read, so that reading goes on. */
const STAND_IN: JobType['spec'] = (() => {
  const spec = parseJobSpec({ command: ['simulated'] });
  if (isRefusal(spec)) throw AppError.fromRefusal(spec);
  return spec;
})();

function readArrivalFile(
  field: Field,
  types: ReadonlyMap<string, JobType>,
  readFile: (path: string) => string,
): Scenario['arrivals'] | undefined {
  const path = readText(field, 'the name of a CSV file');
  if (path === undefined) return undefined;
  let text: string;
  try {
    text = readFile(path);
  } catch (error) {
    return invalid(field, `cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  return readArrivals(text, types, field);
}

function readFailures(field: Field, pools: readonly PoolSpec[]): readonly PoolFailure[] | undefined {
  return readList(field, MAX_FAILURES, (entry) => {
    if (!hasShape(entry, { fields: FAILURE_FIELDS }, `an object with ${FAILURE_FIELDS.join(', ')}`)) return undefined;
    for (const name of ['pool', 'kind', 'until'])
      if (child(entry, name).value === undefined) invalid(child(entry, name), 'is missing');
    const fromMs = readOr(child(entry, 'from'), readMoment, 0);
    const untilMs = readOr(child(entry, 'until'), readMoment, 0);
    if (untilMs <= fromMs && child(entry, 'until').value !== undefined)
      invalid(child(entry, 'until'), 'is not after "from"');
    return {
      pool: readOr(child(entry, 'pool'), (own) => readPoolName(own, pools), ''),
      kind: readOr(child(entry, 'kind'), (own) => readOneOf(own, FAILURE_KINDS), 'capacity'),
      fromMs,
      untilMs,
    };
  });
}
