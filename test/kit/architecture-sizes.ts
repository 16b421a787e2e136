import { openingOf } from './architecture-checks.js';
import type { SourceFile } from './architecture-source.js';
import type { Token } from './architecture-tokens.js';

export interface FunctionSize {
  readonly path: string;
  readonly line: number;
  /** Lines from the opening to the closing brace, both counted. */
  readonly lineCount: number;
}

/** Sizes of all functions and methods with a body in braces, told from other blocks by what stands before the brace. */
export function functionSizes(file: SourceFile): FunctionSize[] {
  const sizes: FunctionSize[] = [];
  const open: number[] = [];
  for (const [at, token] of file.code.entries()) {
    if (token.kind !== 'punctuation') continue;
    if (token.text === '{') open.push(at);
    if (token.text !== '}') continue;
    const from = open.pop();
    const first = from === undefined ? undefined : file.code[from];
    if (from === undefined || first === undefined || !isFunctionBody(file.code, from)) continue;
    sizes.push({ path: file.path, line: first.line, lineCount: token.line - first.line + 1 });
  }
  return sizes;
}

const BLOCK_WORDS = new Set(['if', 'for', 'while', 'switch', 'catch', 'with', 'await']);

function isFunctionBody(code: readonly Token[], brace: number): boolean {
  const previous = code[brace - 1]?.text;
  if (previous === '=>') return true;
  if (previous === 'is') return false;
  const parameters = closingOfParameters(code, brace);
  if (parameters === undefined) return false;
  const name = code[openingOf(code, parameters) - 1];
  return name !== undefined && !BLOCK_WORDS.has(name.text) && !extendsCall(code, openingOf(code, parameters));
}

/** `class A extends base(b) {`: a call, not a list of parameters. */
function extendsCall(code: readonly Token[], parenthesis: number): boolean {
  return code[parenthesis - 2]?.text === 'extends';
}

/** Position of the `)` of the parameters, directly before the brace or before a return type. */
function closingOfParameters(code: readonly Token[], brace: number): number | undefined {
  if (code[brace - 1]?.text === ')') return brace - 1;
  let angles = 0;
  for (let at = brace - 1; at >= 0; at -= 1) {
    const token = code[at];
    if (token === undefined || token.kind === 'template' || token.kind === 'regex') return undefined;
    if (token.kind !== 'punctuation') continue;
    if (token.text === ':' && angles === 0) return at < brace - 1 && code[at - 1]?.text === ')' ? at - 1 : undefined;
    if (token.text === '>') angles += 1;
    else if (token.text === '<') angles -= 1;
    else if (token.text === '}' && code[at + 1]?.kind === 'word') return undefined;
    else if ([')', ']', '}'].includes(token.text)) at = openingOf(code, at);
    else if (!isInType(token.text, angles)) return undefined;
  }
  return undefined;
}

function isInType(text: string, angles: number): boolean {
  return ['|', '&', '.', '=>'].includes(text) || (text === ',' && angles > 0);
}

/** How many methods an interface declares; undefined when the file has no such interface. */
export function methodCount(file: SourceFile, interfaceName: string): number | undefined {
  const { code } = file;
  const start = code.findIndex((token, at) => token.text === interfaceName && code[at - 1]?.text === 'interface');
  if (start < 0) return undefined;
  let at = code.findIndex((token, position) => position > start && token.text === '{') + 1;
  let depth = 0;
  let count = 0;
  for (; at < code.length && depth >= 0; at += 1) {
    const text = code[at]?.text ?? '';
    if (depth === 0 && code[at]?.kind === 'word' && startsMember(code, at) && isMethod(code, at)) count += 1;
    if ('([{'.includes(text)) depth += 1;
    if (')]}'.includes(text)) depth -= 1;
  }
  return count;
}

function startsMember(code: readonly Token[], at: number): boolean {
  return [';', '{', '}', 'readonly'].includes(code[at - 1]?.text ?? '');
}

/** `name(…)`, `name<T>(…)`, `name?(…)`, or `name: (…) => …`. */
function isMethod(code: readonly Token[], at: number): boolean {
  const next = code[at + 1]?.text ?? '';
  return '(<'.includes(next) || ([':', '?'].includes(next) && '(<'.includes(code[at + 2]?.text ?? ''));
}
