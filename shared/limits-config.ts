import { Unfit } from './config.js';
import { PRIORITY_CLASSES } from './job-spec/priority.js';
import type { PreemptionClass, Quota, QuotaOwner } from './limits.js';
import { didYouMean } from './suggest.js';
import { parseCpus, parseMiB, shown } from './units.js';

/** Values for namespaces, for users and for jobs of a name, by name. */
export interface ByOwner<Value> {
  readonly namespaces: ReadonlyMap<string, Value>;
  readonly users: ReadonlyMap<string, Value>;
  readonly jobs: ReadonlyMap<string, Value>;
}

const MAX_WEIGHT = 1_000_000;
const MAX_COUNT = 1_000_000_000;

/** Lines of `namespace:research=cpus=64,tasks=500`. Every problem is reported. */
export function parseQuotas(text: string): ByOwner<Quota> | Unfit {
  return readOwned(text, ['namespace', 'user', 'job'], readQuota);
}

/** Lines of `namespace:research=3`. */
export function parseWeights(text: string): ByOwner<number> | Unfit {
  return readOwned(text, ['namespace', 'user'], (value) => {
    const weight = Number(value);
    if (value.trim() !== '' && weight > 0 && weight <= MAX_WEIGHT) return weight;
    return `${shown(value)} is not a weight; write a number above 0, up to ${MAX_WEIGHT}`;
  });
}

/** Lines of `matlab=2`. */
export function parseLicences(text: string): ReadonlyMap<string, number> | Unfit {
  const found = new Map<string, number>();
  const problems: string[] = [];
  for (const line of linesOf(text)) {
    const [name, value] = divided(line);
    const count = readCount(value);
    if (!LICENCE_NAME.test(name)) problems.push(`${shown(name)} is not the name of a licence; write matlab=2`);
    else if (typeof count === 'string') problems.push(`${name}: ${count}`);
    else if (found.has(name)) problems.push(`${name} is given twice`);
    else found.set(name, count);
  }
  return problems.length > 0 ? new Unfit(problems.join('; ')) : found;
}

/** Lines of `high=low`: tasks of the first priority and above may stop those of the second and below. */
export function parsePreemption(text: string): readonly PreemptionClass[] | Unfit {
  const found: PreemptionClass[] = [];
  const problems: string[] = [];
  for (const line of linesOf(text)) {
    const [from, upTo] = divided(line).map(readPriorityName) as [number | string, number | string];
    if (typeof from === 'string') problems.push(from);
    else if (typeof upTo === 'string') problems.push(upTo);
    else if (upTo >= from)
      problems.push(`${shown(line)} lets tasks stop their equals; the second priority must be lower`);
    else found.push({ from, upTo });
  }
  return problems.length > 0 ? new Unfit(problems.join('; ')) : found;
}

function readPriorityName(text: string): number | string {
  if (Object.hasOwn(PRIORITY_CLASSES, text)) return PRIORITY_CLASSES[text as keyof typeof PRIORITY_CLASSES];
  const priority = Number(text);
  const { lowest, highest } = PRIORITY_CLASSES;
  if (/^-?\d+$/.test(text) && priority >= lowest && priority <= highest) return priority;
  const names = Object.keys(PRIORITY_CLASSES);
  return `${shown(text)} is not a priority; write one of ${names.join(', ')} or a number${didYouMean(text, names)}`;
}

/** As label names: letters, digits, dots, dashes and underscores. */
export const LICENCE_NAME = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$/;

type OwnerKind = QuotaOwner['owner'];

const OWNER = /^(\w+):(\S+)$/;

/** A value for each owner, or what is wrong with each line that has none. `read` returns a text when it cannot. */
function readOwned<Value extends object | number>(
  text: string,
  kinds: readonly OwnerKind[],
  read: (value: string) => Value | string,
): ByOwner<Value> | Unfit {
  const found = { namespace: new Map<string, Value>(), user: new Map<string, Value>(), job: new Map<string, Value>() };
  const problems: string[] = [];
  for (const line of linesOf(text)) {
    const [owner, text] = divided(line);
    const [, given, name = ''] = OWNER.exec(owner) ?? [];
    const kind = kinds.find((each) => each === given);
    const value = read(text);
    if (kind === undefined)
      problems.push(`${shown(owner)} is nobody; write ${kinds.map((each) => `${each}:NAME`).join(' or ')}`);
    else if (found[kind].has(name)) problems.push(`${owner} is given twice`);
    else if (typeof value === 'string') problems.push(`${owner}: ${value}`);
    else found[kind].set(name, value);
  }
  if (problems.length > 0) return new Unfit(problems.join('; '));
  return { namespaces: found.namespace, users: found.user, jobs: found.job };
}

const QUOTA_FIELDS: Readonly<Record<string, (value: string) => Quota | string>> = {
  cpus: (value) => withValue(parseCpus(value), (cpuMillis) => ({ cpuMillis })),
  memory: (value) => withValue(parseMiB(value), (memoryMiB) => ({ memoryMiB })),
  gpus: (value) => withValue(parseCpus(value), (gpuMillis) => ({ gpuMillis })),
  tasks: (value) => withValue(readCount(value), (taskCount) => ({ taskCount })),
  queued: (value) => withValue(readCount(value), (waitingCount) => ({ waitingCount })),
};

function readQuota(text: string): Quota | string {
  let quota: Quota = {};
  const problems: string[] = [];
  for (const part of text.split(',')) {
    const [key, value] = divided(part.trim());
    const read = Object.hasOwn(QUOTA_FIELDS, key) ? QUOTA_FIELDS[key] : undefined;
    const made = read
      ? read(value)
      : `is not one of ${Object.keys(QUOTA_FIELDS).join(', ')}${didYouMean(key, Object.keys(QUOTA_FIELDS))}`;
    if (typeof made === 'string') problems.push(`${shown(key)} ${made}`);
    else quota = { ...quota, ...made };
  }
  return problems.length > 0 ? problems.join(', ') : quota;
}

function withValue(value: number | string, make: (value: number) => Quota): Quota | string {
  return typeof value === 'string' ? value : make(value);
}

function readCount(text: string): number | string {
  const count = Number(text);
  if (/^\d+$/.test(text.trim()) && count <= MAX_COUNT) return count;
  return `${shown(text)} is not a whole number up to ${MAX_COUNT}`;
}

function linesOf(text: string): string[] {
  return text.split('\n').filter((line) => line.trim() !== '');
}

/** Before and after the first equals sign. */
function divided(line: string): readonly [string, string] {
  const at = line.indexOf('=');
  return at < 0 ? [line, ''] : [line.slice(0, at).trim(), line.slice(at + 1).trim()];
}
