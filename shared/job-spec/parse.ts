import type { Refusal } from '../errors.js';
import { MAIN_STEP } from '../ids.js';
import { didYouMean } from '../suggest.js';
import { shown } from '../units.js';
import { JOB_SHAPE, STEP_FIELDS } from './fields.js';
import { child, type Field, type FieldPath, type Finding, invalid, refusalOf, type TextPosition } from './findings.js';
import { formatJobSpec } from './format.js';
import { readLabels, readName } from './names.js';
import { PRIORITY_CLASSES } from './priority.js';
import { hasShape, readBoolean, readInteger, readOr } from './read.js';
import { defaultJobName } from './run.js';
import { type JobSpec, SPEC_DEFAULTS, SPEC_LIMITS, type StepSpec } from './spec.js';
import { readStep, readSteps } from './step.js';
import { checkStaging } from './step-edges.js';

const MIN_PRIORITY = PRIORITY_CLASSES.lowest;
const MAX_PRIORITY = PRIORITY_CLASSES.highest;

export interface ParseOptions {
  /** Names the job when it has no name and no command to be named after. */
  readonly fileName?: string | undefined;
  /** Where a field stands in the text that the input was read from. */
  readonly locate?: ((path: FieldPath) => TextPosition | undefined) | undefined;
  /** What was already found wrong with that text, to be reported together with the rest. */
  readonly findings?: readonly Finding[] | undefined;
}

/**
 * The canonical specification of an input form: defaults filled in, quantities converted, steps in dependency order.
 *
 * The input form may be canonical already: `parseJobSpec(formatJobSpec(spec))` equals `spec`.
 * Refuses with `invalid-spec`, or with `unsupported-field` when nothing else is wrong; every problem is reported at once.
 */
export function parseJobSpec(input: unknown, options: ParseOptions = {}): JobSpec | Refusal {
  const findings: Finding[] = [...(options.findings ?? [])];
  const root: Field = { path: [], value: input, findings };
  const spec = readJob(root, options.fileName);
  if (findings.length === 0) checkSize(root, spec);
  return findings.length === 0 ? spec : refusalOf(findings, options.locate);
}

function readJob(root: Field, fileName: string | undefined): JobSpec {
  const isObject = hasShape(root, JOB_SHAPE, 'a job specification, which is an object with fields');
  const steps = isObject ? readJobSteps(root) : [];
  return {
    name: readOr(child(root, 'name'), readName, '') || defaultJobName(steps, fileName),
    namespace: readOr(child(root, 'namespace'), readName, SPEC_DEFAULTS.namespace),
    priority: readOr(child(root, 'priority'), readPriority, SPEC_DEFAULTS.priority),
    labels: readOr(child(root, 'labels'), readLabels, {}),
    steps,
    allowFutureNodes: readOr(child(root, 'allowFutureNodes'), readBoolean, false),
    hold: readOr(child(root, 'hold'), readBoolean, false),
  };
}

/** The listed steps, or the one step whose fields stand at the top. */
function readJobSteps(root: Field): readonly StepSpec[] {
  const steps = child(root, 'steps');
  const own = STEP_FIELDS.map((name) => child(root, name)).filter((field) => field.value !== undefined);
  if (steps.value === undefined) {
    if (own.length > 0) return readOnlyStep(root);
    invalid(root, 'there is nothing to run; give "command", "script" or "steps"');
    return [];
  }
  for (const field of own) invalid(field, 'belongs to a step; a job with "steps" has it inside each of them');
  return readSteps(steps);
}

function readOnlyStep(root: Field): readonly StepSpec[] {
  const steps = [readStep(root, MAIN_STEP)];
  checkStaging(steps, [root]);
  return steps;
}

function readPriority(field: Field): number | undefined {
  if (typeof field.value !== 'string') {
    return readInteger(field, { what: 'a priority', min: MIN_PRIORITY, max: MAX_PRIORITY });
  }
  const names = Object.keys(PRIORITY_CLASSES);
  if (names.includes(field.value)) return PRIORITY_CLASSES[field.value as keyof typeof PRIORITY_CLASSES];
  const remedy = `write a whole number from ${MIN_PRIORITY} to ${MAX_PRIORITY} or one of ${names.join(', ')}`;
  return invalid(field, `${shown(field.value)} is not a priority; ${remedy}${didYouMean(field.value, names)}`);
}

/** Measured on the canonical form, so that what was accepted once is accepted again. */
function checkSize(root: Field, spec: JobSpec): void {
  const bytes = Buffer.byteLength(JSON.stringify(formatJobSpec(spec)));
  if (bytes <= SPEC_LIMITS.maxSpecBytes) return;
  invalid(root, `the job specification has ${bytes} bytes; at most ${SPEC_LIMITS.maxSpecBytes} are allowed`);
}
