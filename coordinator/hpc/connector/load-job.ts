import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { AppError, isRefusal, type Problem, type Refusal } from '../../../shared/errors.js';
import { isRecord } from '../../../shared/job-spec/findings.js';
import type { SecretUse } from '../../../shared/job-spec/spec.js';
import type { InputSpec, OutputSpec } from '../../../shared/job-spec/staging-spec.js';
import { parseJobText } from '../../../shared/job-spec/text.js';
import { planOwnScript } from '../own-script.js';
import { dialectOf, linksOf, planJob } from '../plan-job.js';
import { parseTarget } from '../read-target.js';
import type { Submission } from '../submission.js';
import type { HpcTarget } from '../target.js';

/** What a run of the connector is about. */
export interface LoadedJob {
  readonly submission: Submission;
  /** Files that must be brought there. */
  readonly uploads: readonly InputSpec[];
  readonly outputs: readonly OutputSpec[];
  readonly secrets: readonly SecretUse[];
}

/** The target that a YAML file describes, with what flags say instead. Throws `invalid-request` with every problem. */
export async function loadTarget(path: string, over: Readonly<Record<string, unknown>>): Promise<HpcTarget> {
  const { parse } = await import('yaml');
  let input: unknown;
  try {
    input = parse(readText(path));
  } catch (error) {
    throw new AppError('invalid-request', `${path}: ${(error as Error).message}`, { cause: error });
  }
  return orThrow(parseTarget(isRecord(input) ? { ...input, ...over } : input), path);
}

/** The job that a file describes: a job document, or a batch script of the user's. Throws with every problem. */
export function loadJob(path: string, target: HpcTarget, tag: string): LoadedJob {
  const text = readText(path);
  if (isOwnScript(text, target)) {
    return { submission: orThrow(planOwnScript(text, target, { tag }), path), uploads: [], outputs: [], secrets: [] };
  }
  const spec = orThrow(parseJobText(text, { fileName: basename(path) }), path);
  const submission = orThrow(planJob(spec, target, { tag }), path);
  const [step] = spec.steps;
  const linked = new Set(step === undefined ? [] : linksOf(step, target).map(({ to }) => to));
  const uploads = (step?.inputs ?? []).filter(({ to }) => !linked.has(to));
  return { submission, uploads, outputs: step?.outputs ?? [], secrets: step?.secrets ?? [] };
}

/** A script in the system's own terms, unless the system reads none from a script: then its lines are understood here. */
function isOwnScript(text: string, target: HpcTarget): boolean {
  if (target.backend === 'slurm-rest' || /^#BERTH\s/m.test(text)) return false;
  const directive = dialectOf(target) === 'sge' ? /^#\$\s/m : /^#SBATCH\s/m;
  return text.startsWith('#!') || directive.test(text);
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new AppError('invalid-request', `cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
}

function orThrow<Value>(value: Value | Refusal, path: string): Value {
  if (!isRefusal(value)) return value;
  const lines = value.problems?.map(problemLine) ?? [value.detail];
  throw new AppError(value.refused, lines.map((line) => `${path}: ${line}`).join('\n'));
}

function problemLine({ field, message, line }: Problem): string {
  return `${line === undefined ? '' : `line ${line}: `}${field === '' ? '' : `${field}: `}${message}`;
}
