import { posix } from 'node:path';
import type { Import, SourceFile } from './architecture-source.js';
import { endsValue, type Token, tokenize } from './architecture-tokens.js';

/** One place that breaks one rule. */
export interface Offence {
  readonly path: string;
  readonly line: number;
  readonly message: string;
}

/** A part of the house: which files it is, and whom it may import. */
export interface Layer {
  readonly name: string;
  /** Files and folders (with a closing slash). A file belongs to the first layer that names it. */
  readonly files: readonly string[];
  /** Names of layers, besides itself. */
  readonly mayImport: readonly string[];
  /**
   * `closed`: sees our own code only, no `node:*` and no npm package.
   * `pure`: closed, and runs from start to end in one turn. Absent: anything may be imported from outside.
   */
  readonly nature?: 'closed' | 'pure';
}

export function layerOf(layers: readonly Layer[], path: string): Layer | undefined {
  return layers.find(({ files }) =>
    files.some((prefix) => (prefix.endsWith('/') ? path.startsWith(prefix) : path === prefix)),
  );
}

/** Imports that the layers do not permit, and files that belong to no layer. */
export function checkLayers(layers: readonly Layer[], file: SourceFile): Offence[] {
  const layer = layerOf(layers, file.path);
  if (!layer) return [{ path: file.path, line: 1, message: 'belongs to no layer of the table' }];
  const offences: Offence[] = [];
  for (const each of file.imports) {
    const message = each.target === null ? packageOffence(layer, each) : layerOffence(layers, layer, each.target);
    if (message) offences.push({ path: file.path, line: each.line, message });
  }
  return offences;
}

function packageOffence(layer: Layer, each: Import): string | undefined {
  return layer.nature !== undefined ? `${layer.name} may not import the package ${each.specifier}` : undefined;
}

function layerOffence(layers: readonly Layer[], layer: Layer, target: string): string | undefined {
  const other = layerOf(layers, target);
  if (!other) return `imports ${target}, which belongs to no layer`;
  if (other === layer || layer.mayImport.includes(other.name)) return undefined;
  return `${layer.name} may not import ${other.name} (${target})`;
}

/** `async`, `await` and `Promise` in pure layers. */
export function checkSynchronous(layers: readonly Layer[], file: SourceFile): Offence[] {
  if (layerOf(layers, file.path)?.nature !== 'pure') return [];
  return file.code
    .filter(({ kind, text }) => kind === 'word' && ['async', 'await', 'Promise'].includes(text))
    .map(({ line, text }) => ({ path: file.path, line, message: `${text} in a pure layer` }));
}

/** Relative imports that name no file, or not by its `.js` name. */
export function checkTargets(files: readonly SourceFile[], isGenerated: (path: string) => boolean): Offence[] {
  const paths = new Set(files.map(({ path }) => path));
  const isFound = ({ specifier, target }: Import) =>
    target === null || (specifier.endsWith('.js') && (paths.has(target) || isGenerated(target)));
  return files.flatMap(({ path, imports }) =>
    imports
      .filter((each) => !isFound(each))
      .map(({ line, specifier }) => ({ path, line, message: `${specifier} is no file of ours` })),
  );
}

/** Import cycles, type imports included; each once, as the path of files that closes it. */
export function findCycles(files: readonly SourceFile[]): string[] {
  const targets = new Map(files.map((file) => [file.path, targetsOf(file)]));
  const finished = new Set<string>();
  const trail: string[] = [];
  const cycles: string[] = [];
  const visit = (path: string): void => {
    if (finished.has(path)) return;
    const start = trail.indexOf(path);
    if (start >= 0) {
      cycles.push([...trail.slice(start), path].join(' -> '));
      return;
    }
    trail.push(path);
    for (const target of targets.get(path) ?? []) visit(target);
    trail.pop();
    finished.add(path);
  };
  for (const path of targets.keys()) visit(path);
  return cycles;
}

function targetsOf(file: SourceFile): string[] {
  return file.imports.flatMap(({ target }) => (target === null ? [] : [target]));
}

/** A global that only some files may touch, written as code: `Date.now`, `new Date()`. */
export interface ForbiddenGlobal {
  readonly code: string;
  readonly instead: string;
}

export function checkGlobals(globals: readonly ForbiddenGlobal[], file: SourceFile): Offence[] {
  return globals.flatMap(({ code, instead }) => {
    const pattern = tokenize(code).code;
    return occurrences(pattern, file.code).map((line) => ({
      path: file.path,
      line,
      message: `${code} is forbidden here; use ${instead}`,
    }));
  });
}

/** Lines where the tokens of `pattern` stand in a row, not as a property of something else. */
function occurrences(pattern: readonly Token[], code: readonly Token[]): number[] {
  const lines: number[] = [];
  for (const [at, first] of code.entries()) {
    if (isProperty(code, at)) continue;
    if (pattern.every((token, offset) => isSame(code[at + offset], token))) lines.push(first.line);
  }
  return lines;
}

function isSame(token: Token | undefined, wanted: Token): boolean {
  return token?.kind === wanted.kind && token.text === wanted.text;
}

/** `x.any`, and `any:` or `any(` where it is a member's name. */
function isProperty(code: readonly Token[], at: number): boolean {
  const previous = code[at - 1]?.text;
  return previous === '.' || previous === '?.';
}

/** Parts of the language that this project does without. */
export function checkLanguage(file: SourceFile): Offence[] {
  const offences: Offence[] = [];
  const { code, path } = file;
  for (const [at, { kind, text, line }] of code.entries()) {
    const next = code[at + 1];
    const add = (message: string) => offences.push({ path, line, message });
    if (kind === 'punctuation' && text === '!' && isNonNull(code, at)) add('the non-null operator "!"');
    if (kind !== 'word' || isProperty(code, at)) continue;
    if (text === 'any' && next?.text !== ':' && next?.text !== '(') add('the type "any"');
    if (text === 'enum' && next?.kind === 'word') add('an enum');
    if (text === 'export' && next?.text === 'default') add('a default export');
  }
  return offences;
}

/** A bang behind a value on the same line; before a value it is the ordinary "not". */
function isNonNull(code: readonly Token[], at: number): boolean {
  const previous = code[at - 1];
  return endsValue(previous) && previous?.line === code[at]?.line && !closesCondition(code, at - 1);
}

/** True for the parenthesis in `if (ready) !done`, which ends no value. */
function closesCondition(code: readonly Token[], at: number): boolean {
  if (code[at]?.text !== ')') return false;
  return ['if', 'while', 'for'].includes(code[openingOf(code, at) - 1]?.text ?? '');
}

const OPENING: Readonly<Record<string, string>> = { ')': '(', ']': '[', '}': '{' };

/** Position of the bracket that the one at `at` closes; -1 when there is none. */
export function openingOf(code: readonly Token[], at: number): number {
  let depth = 0;
  for (let position = at; position >= 0; position -= 1) {
    const token = code[position];
    if (token?.kind !== 'punctuation') continue;
    if (token.text in OPENING) depth += 1;
    else if (Object.values(OPENING).includes(token.text)) depth -= 1;
    if (depth === 0) return position;
  }
  return -1;
}

/** Unfinished marks, unless they name an owner and a condition: `TODO(anna): drop when Node 20 is gone`. */
export function checkMarks(file: SourceFile): Offence[] {
  return file.comments
    .filter(({ text }) => /\b(TODO|FIXME|XXX|HACK)\b/.test(text) && !/\bTODO\(\w+\): \S/.test(text))
    .map(({ line }) => ({ path: file.path, line, message: 'an unfinished mark without owner and condition' }));
}

/** File names say what a file does: kebab-case, and none of the words that say nothing. */
export function checkFileName(vagueWords: readonly string[], path: string): Offence[] {
  const name = posix.basename(path).replace(/(\.test|\.d)?\.ts$/, '');
  const add = (message: string) => [{ path, line: 1, message }];
  if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name)) return add('the file name is not kebab-case');
  const vague = name.split('-').find((word) => vagueWords.includes(word));
  return vague === undefined ? [] : add(`"${vague}" says nothing about the file`);
}
