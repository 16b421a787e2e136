import { type Refusal, refuse } from '../../shared/errors.js';
import { child, type Field, type Finding, invalid, isRecord, refusalOf } from '../../shared/job-spec/findings.js';
import { readInteger, readList, readOr, readText } from '../../shared/job-spec/read.js';
import { readYaml } from '../../shared/job-spec/yaml.js';
import { shown } from '../../shared/units.js';
import { parseTarget } from './read-target.js';
import type { HpcTarget } from './target.js';

/** A target as a coordinator uses it. */
export interface TargetSpec {
  readonly target: HpcTarget;
  /** Tasks of this coordinator that are there at once; others wait here. */
  readonly maxTasks: number;
  /** What an hour of one core costs there, in the operator's currency. */
  readonly pricePerCoreHour: number;
}

export interface TargetsFile {
  readonly targets: readonly TargetSpec[];
  /** Names of targets that are no more: jobs that are still there are given up. */
  readonly gone: readonly string[];
}

const DEFAULT_MAX_TASKS = 500;
const MOST_TASKS = 100_000;
const MAX_TARGETS = 100;
const MOST_PRICE = 1_000_000;

/** The targets in a YAML document. */
export function parseTargetsText(text: string): TargetsFile | Refusal {
  const { input, findings } = readYaml(text);
  return findings.length > 0 ? { ...refusalOf(findings), refused: 'invalid-request' } : parseTargets(input);
}

/**
 * The targets of a coordinator, as parsed from YAML or JSON: a list below `targets`, and names below `gone`.
 *
 * Refuses with `invalid-request` and every problem found.
 */
export function parseTargets(input: unknown): TargetsFile | Refusal {
  const { targets: entries, gone = [], ...others } = isRecord(input) ? input : {};
  if (!Array.isArray(entries) || entries.length > MAX_TARGETS || Object.keys(others).length > 0) {
    const shape = `write a list "targets" of at most ${MAX_TARGETS}, and nothing beside it but "gone"`;
    return refuse('invalid-request', shape);
  }
  const findings: Finding[] = [];
  const names = readList({ path: ['gone'], value: gone, findings }, MAX_TARGETS, (each) => readText(each, 'a name'));
  const problems = findings.map(({ message }) => `gone: ${message}`);
  const specs: TargetSpec[] = [];
  for (const [position, entry] of entries.entries()) {
    const findings: Finding[] = [];
    const { maxTasks: given, pricePerCoreHour: price, ...rest } = isRecord(entry) ? entry : {};
    const target = parseTarget(isRecord(entry) ? rest : entry);
    const beside: Field = { path: [], value: { maxTasks: given, pricePerCoreHour: price }, findings };
    const maxTasks = readMaxTasks(beside);
    const pricePerCoreHour = readOr(child(beside, 'pricePerCoreHour'), readPrice, 0);
    const own = findings.map(({ path, message }) => `${path.join('.')}: ${message}`);
    if ('refused' in target) own.push(target.detail);
    else if (rest.name === undefined) own.push('name: is missing; jobs name it as hpc/NAME');
    else if (specs.some((other) => other.target.name === target.name))
      own.push(`name: ${target.name} stands here twice`);
    else specs.push({ target, maxTasks, pricePerCoreHour });
    problems.push(...own.map((each) => `targets[${position}].${each}`));
  }
  const both = specs.find(({ target }) => names?.includes(target.name))?.target.name;
  if (both !== undefined) problems.push(`gone: ${both} stands among the targets too; remove one of the two`);
  return problems.length === 0 ? { targets: specs, gone: names ?? [] } : refuse('invalid-request', problems.join('\n'));
}

function readMaxTasks(field: Field): number {
  const read = (each: Field) => readInteger(each, { what: 'a number of tasks at once', min: 1, max: MOST_TASKS });
  return readOr(child(field, 'maxTasks'), read, DEFAULT_MAX_TASKS);
}

function readPrice(field: Field): number | undefined {
  const { value } = field;
  if (typeof value === 'number' && value >= 0 && value <= MOST_PRICE) return value;
  return invalid(field, `${shown(value)} is not a price; it is a number from 0 to ${MOST_PRICE}`);
}
