import { child, type Field, invalid, isRecord } from '../job-spec/findings.js';
import { readName } from '../job-spec/names.js';
import { hasShape, readBoolean, readInteger, readList, readOneOf, readOr, readText } from '../job-spec/read.js';
import { readDuration } from '../job-spec/sizes.js';
import type { PoolPrices, PoolSpec, PowerOff, PowerTimes, ProviderSpec, WarmFloor } from '../pool.js';
import { shown } from '../units.js';
import { reportContradictions } from './contradictions.js';
import { POOL_DEFAULTS, POOL_LIMITS } from './limits.js';
import { readNodeShape } from './node-shape.js';
import { readWarm } from './warm.js';

/** Pools of a scenario have no provider: their machines are simulated. */
export type PoolForm = 'provided' | 'simulated';

const POOL_FIELDS = [
  ...['name', 'provider', 'node', 'min', 'max', 'warm', 'idle', 'onIdle', 'predeploy', 'exclusive', 'fallback'],
  ...['prices', 'quota', 'times'],
];
const SIMULATED_FIELDS = POOL_FIELDS.filter((name) => name !== 'provider');
const ON_IDLE: readonly PowerOff[] = ['suspend', 'terminate'];
const NO_WARMTH: WarmFloor = { kind: 'nodes', count: 0 };
const SIMULATED: ProviderSpec = { kind: 'simulated', settings: {} };

/** A pool; undefined when the value is none at all. What is wrong with it is reported. */
export function readPool(field: Field, form: PoolForm): PoolSpec | undefined {
  const fields = form === 'provided' ? POOL_FIELDS : SIMULATED_FIELDS;
  if (!hasShape(field, { fields }, 'a pool, which is an object with fields')) return undefined;
  const before = field.findings.length;
  const pool = readFields(field, form);
  // What could not be read contradicts nothing.
  if (field.findings.length === before) reportContradictions(pool, field);
  return pool;
}

function readFields(field: Field, form: PoolForm): PoolSpec {
  const name = readOr(required(field, 'name', 'give the pool a name'), readName, '');
  const node = required(field, 'node', 'say what one node has, as in {cpus: 4, memory: 16GiB}');
  const max = required(field, 'max', 'say how many machines there may be at most');
  return {
    name,
    provider: form === 'provided' ? readProvider(field) : SIMULATED,
    node: readNodeShape(node, name),
    min: readOr(child(field, 'min'), (entry) => readCount(entry, 0), 0),
    max: readOr(max, (entry) => readCount(entry, 1), POOL_LIMITS.maxMachines),
    warm: readOr(child(field, 'warm'), readWarm, NO_WARMTH),
    idleMs: readOr(child(field, 'idle'), readIdle, POOL_DEFAULTS.idleMs),
    onIdle: readOr(child(field, 'onIdle'), (entry) => readOneOf(entry, ON_IDLE), 'terminate'),
    predeploy: readOr(child(field, 'predeploy'), (entry) => readCount(entry, 0), 0),
    exclusive: readOr(child(field, 'exclusive'), readBoolean, false),
    fallback: readOr(child(field, 'fallback'), readFallback, []),
    prices: readOr(child(field, 'prices'), readPrices, { onPerHour: 0, suspendedPerHour: 0 }),
    quota: readOr(child(field, 'quota'), readQuota, null),
    times: readOr(child(field, 'times'), readTimes, POOL_DEFAULTS.times),
  };
}

function required(field: Field, name: string, remedy: string): Field {
  const own = child(field, name);
  if (own.value === undefined) invalid(own, `is missing; ${remedy}`);
  return own;
}

/** A kind by itself, or a kind with the settings of that provider, which reads them itself. */
function readProvider(field: Field): ProviderSpec {
  const own = required(field, 'provider', 'say who makes its machines, as in "provider: docker"');
  if (!isRecord(own.value)) return { kind: readOr(own, readKind, ''), settings: {} };
  const kind = child(own, 'kind');
  if (kind.value === undefined) invalid(kind, 'is missing; say which provider it is');
  const settings = Object.fromEntries(Object.entries(own.value).filter(([key]) => key !== 'kind'));
  return { kind: readOr(kind, readKind, ''), settings };
}

function readKind(field: Field): string | undefined {
  return readText(field, 'the name of a provider, or an object with its kind');
}

function readCount(field: Field, min: number): number | undefined {
  return readInteger(field, { what: 'a number of machines', min, max: POOL_LIMITS.maxMachines });
}

function readQuota(field: Field): number | undefined {
  if (field.value === 0) return invalid(field, '0 lets no machine be made; ask for a quota, or remove the pool');
  return readCount(field, 1);
}

function readIdle(field: Field): number | undefined {
  return readDuration(field, { minMs: 0, maxMs: POOL_LIMITS.maxIdleMs });
}

function readFallback(field: Field): readonly string[] | undefined {
  return readList(field, POOL_LIMITS.maxFallbacks, readName);
}

function readPrices(field: Field): PoolPrices | undefined {
  const fields = ['onPerHour', 'suspendedPerHour'];
  if (!hasShape(field, { fields }, `an object with ${fields.join(', ')}`)) return undefined;
  return {
    onPerHour: readOr(child(field, 'onPerHour'), readPrice, 0),
    suspendedPerHour: readOr(child(field, 'suspendedPerHour'), readPrice, 0),
  };
}

function readPrice(field: Field): number | undefined {
  const { value } = field;
  if (typeof value === 'number' && value >= 0 && value <= POOL_LIMITS.maxPricePerHour) return value;
  return invalid(field, `${shown(value)} is not a price; it is a number from 0 to ${POOL_LIMITS.maxPricePerHour}`);
}

function readTimes(field: Field): PowerTimes | undefined {
  if (!hasShape(field, { fields: ['boot', 'resume', 'off'] }, 'an object with boot, resume, off')) return undefined;
  const { bootMs, resumeMs, offMs } = POOL_DEFAULTS.times;
  const read = (own: Field): number | undefined => readDuration(own, { minMs: 0, maxMs: POOL_LIMITS.maxPowerMs });
  return {
    bootMs: readOr(child(field, 'boot'), read, bootMs),
    resumeMs: readOr(child(field, 'resume'), read, resumeMs),
    offMs: readOr(child(field, 'off'), read, offMs),
  };
}
