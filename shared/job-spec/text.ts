import type { Refusal } from '../errors.js';
import { type FieldPath, isRecord, refusalOf, type TextPosition } from './findings.js';
import { type RunFlagValues, type SpecInput, specInputFromFlags } from './flags.js';
import { parseJobSpec } from './parse.js';
import { isScript, readScriptFlags, type ScriptFlags } from './script.js';
import { type JobSpec, SPEC_LIMITS } from './spec.js';
import { readYaml } from './yaml.js';

/**
 * Job specifications as text. Loads the YAML library (about 50 ms): a program that starts fast imports this file when
 * it has a text to read, not before.
 */
export interface JobTextOptions {
  /** Names the job when nothing else does. */
  readonly fileName?: string;
  /** Override what the text says, as sbatch's command line overrides its script. */
  readonly flags?: RunFlagValues;
}

/**
 * The specification in a YAML or JSON document, or in a shell script with `#BERTH` or `#SBATCH` lines.
 *
 * Refuses with `invalid-spec` or `unsupported-field`; problems carry the line, and in documents the column.
 */
export function parseJobText(text: string, options: JobTextOptions = {}): JobSpec | Refusal {
  const bytes = Buffer.byteLength(text);
  if (bytes > SPEC_LIMITS.maxSpecBytes) {
    const message = `the text has ${bytes} bytes; at most ${SPEC_LIMITS.maxSpecBytes} are allowed`;
    return refusalOf([{ kind: 'invalid', path: [], message }]);
  }
  const plain = text.replace(/^\uFEFF/, '');
  return isScript(plain) ? parseScript(plain, options) : parseDocument(plain, options);
}

function parseScript(script: string, { fileName, flags = {} }: JobTextOptions): JobSpec | Refusal {
  const { values, findings, locate } = readFor(flags.target, readScriptFlags(script));
  const input = overridden(specInputFromFlags({ ...values, script }), specInputFromFlags(flags));
  return parseJobSpec(input, { fileName, findings, locate: unlessOverridden(locate, flags) });
}

/** Slurm's own options are a remote Slurm's to read: only what decides which tasks there are is read here too. */
function readFor(target: RunFlagValues['target'], script: ScriptFlags): ScriptFlags {
  const isRemote = target?.every((place) => place.startsWith('hpc/'));
  if (!isRemote || script.dialect !== 'SBATCH') return script;
  const { name, array, maxParallel } = script.values;
  const values = Object.entries({ name, array, maxParallel }).filter(([, value]) => value !== undefined);
  return { ...script, values: Object.fromEntries(values), findings: [] };
}

function parseDocument(text: string, { fileName, flags = {} }: JobTextOptions): JobSpec | Refusal {
  const { input, findings, locate } = readYaml(text);
  if (findings.length > 0) return refusalOf(findings);
  const merged = isRecord(input) ? overridden(input, specInputFromFlags(flags)) : input;
  return parseJobSpec(merged, { fileName, locate: unlessOverridden(locate, flags) });
}

/** Objects such as `resources` and `env` are merged by field; all else is replaced. */
function overridden(base: SpecInput, over: SpecInput): SpecInput {
  let kept = 'array' in over || 'count' in over ? { ...base, array: undefined, count: undefined } : base;
  if ('targets' in over) kept = { ...kept, target: undefined };
  const entries = Object.entries(over).map(([key, value]) => {
    const under = Object.hasOwn(base, key) ? base[key] : undefined;
    return [key, isRecord(value) && isRecord(under) ? { ...under, ...value } : value] as const;
  });
  return { ...kept, ...Object.fromEntries(entries) };
}

type Locate = (path: FieldPath) => TextPosition | undefined;

/** A problem with a flag has no place in the text. */
function unlessOverridden(locate: Locate, flags: RunFlagValues): Locate {
  const over = specInputFromFlags(flags);
  return (path) => (isGiven(over, path) ? undefined : locate(path));
}

function isGiven(input: unknown, path: FieldPath): boolean {
  let value = input;
  for (const key of path) {
    if (!isRecord(value)) return value !== undefined;
    value = value[key];
  }
  return path.length > 0 && value !== undefined;
}
