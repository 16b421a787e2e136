import { didYouMean } from '../suggest.js';
import { formatMiB, parseCpus } from '../units.js';
import { type DirectiveLine, findDirectives, readOptions, type WrittenOption } from './directives.js';
import type { FieldPath, Finding, TextPosition } from './findings.js';
import { pathText } from './findings.js';
import { RUN_FLAGS, type RunFlag, type RunFlagKey, type RunFlagValues } from './flags.js';
import { SBATCH_OPTION_NAMES, sbatchMeaning, sbatchTakesValue, slurmVariables } from './sbatch.js';
import { SPEC_DEFAULTS } from './spec.js';

/** What the directives of a script say. */
export interface ScriptFlags {
  readonly values: RunFlagValues;
  readonly findings: readonly Finding[];
  /** What its directives are written for, when all are of one kind; null when it has none. */
  readonly dialect: DirectiveLine['dialect'] | 'both' | null;
  /** The line that sets a field, for problems that are found later. */
  readonly locate: (path: FieldPath) => TextPosition | undefined;
}

/** True for a text that begins with `#!` or has a directive before its first command. */
export function isScript(text: string): boolean {
  return text.startsWith('#!') || findDirectives(text).lines.length > 0;
}

/** Reads the `#BERTH` and `#SBATCH` lines of a script; both kinds may stand in one, but not contradict each other. */
export function readScriptFlags(script: string): ScriptFlags {
  const state: ReadState = { values: new Map(), lists: new Map(), findings: [], perCpu: undefined };
  const { lines, late } = findDirectives(script);
  for (const directive of lines) readDirective(state, directive);
  for (const directive of late) {
    report(state, directive, `a #${directive.dialect} line after the first command has no effect; move it up`);
  }
  applyMemoryPerCpu(state);
  if (lines.some(({ dialect }) => dialect === 'SBATCH')) reportVariables(state, script);
  const { findings } = state;
  return { values: valuesOf(state), findings, dialect: dialectOf(lines), locate: (path) => locate(state, path) };
}

function dialectOf([first, ...others]: readonly DirectiveLine[]): ScriptFlags['dialect'] {
  if (!first) return null;
  return others.every(({ dialect }) => dialect === first.dialect) ? first.dialect : 'both';
}

interface Setting {
  readonly value: string | true;
  readonly line: number;
}

interface ReadState {
  readonly values: Map<RunFlagKey, Setting>;
  readonly lists: Map<RunFlagKey, Setting[]>;
  readonly findings: Finding[];
  perCpu: { readonly mebibytes: number; readonly line: number } | undefined;
}

function readDirective(state: ReadState, directive: DirectiveLine): void {
  const isSbatch = directive.dialect === 'SBATCH';
  const options = readOptions(directive.text, isSbatch ? sbatchTakesValue : berthTakesValue);
  if (typeof options === 'string') {
    report(state, directive, `#${directive.dialect}: ${options}`);
    return;
  }
  for (const option of options) {
    if (isSbatch) readSbatchOption(state, directive, option);
    else readBerthOption(state, directive, option);
  }
}

function berthTakesValue(name: string): boolean | undefined {
  const flag = flagNamed(name);
  return flag && flag.value !== null;
}

function flagNamed(name: string): RunFlag | undefined {
  return RUN_FLAGS.find((flag) => flag.flag === name || flag.short === name);
}

function readBerthOption(state: ReadState, directive: DirectiveLine, { name, value }: WrittenOption): void {
  const flag = flagNamed(name);
  if (flag) {
    set(state, flag, { value: value ?? true, line: directive.line });
    return;
  }
  const hint = didYouMean(
    name,
    RUN_FLAGS.map((known) => known.flag),
  );
  report(state, directive, `#BERTH: there is no flag ${name}${hint}`);
}

function readSbatchOption(state: ReadState, directive: DirectiveLine, { name, value }: WrittenOption): void {
  const { line } = directive;
  const meaning = sbatchMeaning(name, value ?? '');
  if (!meaning) {
    const hint = didYouMean(name, SBATCH_OPTION_NAMES);
    report(state, directive, `#SBATCH ${name} is not supported by this version; remove the line${hint}`, 'unsupported');
  } else if (meaning.kind === 'memory-per-cpu') {
    readMemoryPerCpu(state, directive, meaning.mebibytes);
  } else if (meaning.kind === 'flags') {
    setAll(state, meaning.values, line);
  } else {
    report(state, directive, `#SBATCH ${name}: ${meaning.message}`, meaning.kind);
  }
}

function setAll(state: ReadState, values: RunFlagValues, line: number): void {
  for (const flag of RUN_FLAGS) {
    const value = values[flag.key];
    if (value === undefined) continue;
    const entries = Array.isArray(value) ? value : [value];
    for (const entry of entries) set(state, flag, { value: entry === true ? true : String(entry), line });
  }
}

/** The same thing said twice is harmless; two things said of one field are not. */
function set(state: ReadState, flag: RunFlag, setting: Setting): void {
  if (flag.repeatable) {
    const list = state.lists.get(flag.key) ?? [];
    const earlier = list.find((other) => isSameName(flag, other, setting));
    if (earlier) reportConflict(state, flag, earlier, setting);
    else state.lists.set(flag.key, [...list, setting]);
    return;
  }
  const earlier = state.values.get(flag.key);
  if (earlier) reportConflict(state, flag, earlier, setting);
  else state.values.set(flag.key, setting);
}

function isSameName(flag: RunFlag, left: Setting, right: Setting): boolean {
  if (flag.key !== 'env' && flag.key !== 'label') return left.value === right.value;
  return nameOf(left) === nameOf(right);
}

function nameOf({ value }: Setting): string {
  return String(value).split('=', 1)[0] ?? '';
}

function reportConflict(state: ReadState, flag: RunFlag, earlier: Setting, later: Setting): void {
  if (earlier.value === later.value) return;
  const what = flag.repeatable ? `${flag.flag} ${nameOf(later)}` : flag.flag;
  const message = `${what} is "${earlier.value}" on line ${earlier.line} and "${later.value}" on line ${later.line}; keep one`;
  state.findings.push({ kind: 'invalid', path: [flag.field], message, at: { line: later.line } });
}

function readMemoryPerCpu(state: ReadState, directive: DirectiveLine, mebibytes: number): void {
  if (state.perCpu === undefined) state.perCpu = { mebibytes, line: directive.line };
  else if (state.perCpu.mebibytes !== mebibytes) {
    report(state, directive, `--mem-per-cpu is also given on line ${state.perCpu.line}; keep one`);
  }
}

/** Slurm multiplies by the processors of a task, wherever in the script these are asked for. */
function applyMemoryPerCpu(state: ReadState): void {
  if (!state.perCpu) return;
  const cpus = state.values.get('cpus');
  const millis = cpus ? parseCpus(cpus.value) : SPEC_DEFAULTS.cpuMillis;
  if (typeof millis === 'string') return;
  const memory = formatMiB(Math.ceil((state.perCpu.mebibytes * millis) / 1_000));
  setAll(state, { memory }, state.perCpu.line);
}

function reportVariables(state: ReadState, script: string): void {
  const setByJob = new Set((state.lists.get('env') ?? []).map(nameOf));
  for (const { line, message } of slurmVariables(script, setByJob)) {
    state.findings.push({ kind: 'unsupported', path: [], message, at: { line } });
  }
}

function report(state: ReadState, { line }: DirectiveLine, message: string, kind: Finding['kind'] = 'invalid'): void {
  state.findings.push({ kind, path: [], message, at: { line } });
}

function valuesOf(state: ReadState): RunFlagValues {
  const single = [...state.values].map(([key, setting]) => [key, setting.value]);
  const lists = [...state.lists].map(([key, settings]) => [key, settings.map((setting) => setting.value)]);
  return Object.fromEntries([...single, ...lists]);
}

/** The line of the flag that sets the field, or one around or inside it. */
function locate(state: ReadState, path: FieldPath): TextPosition | undefined {
  const field = pathText(path);
  for (const flag of RUN_FLAGS) {
    if (!isWithin(field, flag.field) && !isWithin(flag.field, field)) continue;
    const settings = flag.repeatable ? state.lists.get(flag.key) : [state.values.get(flag.key)];
    const named = settings?.find((setting, position) => setting && isEntry(path, setting, position));
    const setting = named ?? settings?.[0];
    if (setting) return { line: setting.line };
  }
  return undefined;
}

function isWithin(inner: string, outer: string): boolean {
  return outer !== '' && (inner === outer || inner.startsWith(`${outer}.`) || inner.startsWith(`${outer}[`));
}

function isEntry(path: FieldPath, setting: Setting, position: number): boolean {
  const last = path.at(-1);
  return typeof last === 'number' ? last === position : last === nameOf(setting);
}
