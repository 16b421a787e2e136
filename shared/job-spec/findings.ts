import { type Problem, type Refusal, refuse } from '../errors.js';
import { didYouMean } from '../suggest.js';

/** Where a value stands in the input: keys and list positions from the top. */
export type FieldPath = readonly (string | number)[];

export interface TextPosition {
  readonly line: number;
  readonly column?: number;
}

/** Something wrong with the input. `unsupported` is a field that Berth knows and this version cannot honour. */
export interface Finding {
  readonly kind: 'invalid' | 'unsupported';
  readonly path: FieldPath;
  readonly message: string;
  readonly at?: TextPosition;
}

/** A value of the input, where it stands, and where to report what is wrong with it. */
export interface Field {
  readonly path: FieldPath;
  /** Undefined when the field is not given. */
  readonly value: unknown;
  readonly findings: Finding[];
}

/** More problems than this help nobody; the rest is counted. */
const MAX_PROBLEMS = 50;

export function child(field: Field, key: string): Field {
  const value = isRecord(field.value) && Object.hasOwn(field.value, key) ? field.value[key] : undefined;
  return { path: [...field.path, key], value, findings: field.findings };
}

export function item(field: Field, position: number, value: unknown): Field {
  return { path: [...field.path, position], value, findings: field.findings };
}

/** Reports the field and returns undefined, so that a reader can end with it. */
export function invalid(field: Field, message: string): undefined {
  field.findings.push({ kind: 'invalid', path: field.path, message });
}

export function unsupported(field: Field, message: string): undefined {
  field.findings.push({ kind: 'unsupported', path: field.path, message });
}

/** The likeliest candidate to end a message with; nothing once there are more problems than will be shown. */
export function hint(field: Field, word: unknown, candidates: Iterable<string>): string {
  return typeof word === 'string' && field.findings.length < MAX_PROBLEMS ? didYouMean(word, candidates) : '';
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `steps[0].resources.memory`; empty for the whole. */
export function pathText(path: FieldPath): string {
  let text = '';
  for (const key of path) text += typeof key === 'number' ? `[${key}]` : text === '' ? key : `.${key}`;
  return text;
}

/** One refusal with every problem; `unsupported-field` only when nothing else is wrong. */
export function refusalOf(
  findings: readonly Finding[],
  locate?: (path: FieldPath) => TextPosition | undefined,
): Refusal {
  const isUnsupported = findings.every((finding) => finding.kind === 'unsupported');
  const problems = findings.slice(0, MAX_PROBLEMS).map((finding): Problem => {
    return { field: pathText(finding.path), message: finding.message, ...(finding.at ?? locate?.(finding.path)) };
  });
  return refuse(isUnsupported ? 'unsupported-field' : 'invalid-spec', detailOf(problems, findings.length), {
    problems,
  });
}

function detailOf(problems: readonly Problem[], count: number): string {
  const [first] = problems;
  if (!first) return 'the specification is invalid';
  const place = first.line === undefined ? '' : `line ${first.line}: `;
  const text = `${place}${first.field === '' ? '' : `${first.field}: `}${first.message}`;
  return count === 1 ? text : `${text} (the first of ${count} problems)`;
}
