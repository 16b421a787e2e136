import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, posix } from 'node:path';
import { type Comment, type Token, tokenize } from './architecture-tokens.js';

/** A TypeScript file as the architecture test reads it. Paths are relative to the checkout, with forward slashes. */
export interface SourceFile {
  readonly path: string;
  readonly lineCount: number;
  readonly code: readonly Token[];
  readonly comments: readonly Comment[];
  readonly imports: readonly Import[];
}

export interface Import {
  readonly line: number;
  /** As written. */
  readonly specifier: string;
  /** The imported file's path for a relative specifier, with the `.ts` that it is compiled from; else null. */
  readonly target: string | null;
}

/** What tools make or download; everything else in the checkout is ours. */
const NOT_OURS = new Set(['node_modules', 'build', 'gen', 'coverage', '.git', '.tap']);

/** Every file of the checkout that people wrote, ascending by path. */
export function listFiles(root: string): string[] {
  const found: string[] = [];
  const visit = (folder: string): void => {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      const path = posix.join(folder, entry.name);
      if (NOT_OURS.has(entry.name)) continue;
      if (entry.isDirectory()) visit(path);
      else if (entry.isFile()) found.push(path);
    }
  };
  visit('');
  return found.sort();
}

/** Text of a file, or undefined for one that is too large to be written by hand or has vanished. */
export function readText(root: string, path: string): string | undefined {
  const size = statSync(join(root, path), { throwIfNoEntry: false })?.size;
  return size === undefined || size > MAX_TEXT_BYTES ? undefined : readFileSync(join(root, path), 'utf8');
}

const MAX_TEXT_BYTES = 2 * 1024 * 1024;

export function readSources(root: string): SourceFile[] {
  return listFiles(root)
    .filter((path) => path.endsWith('.ts'))
    .map((path) => parseSource(path, readText(root, path) ?? ''));
}

/** Throws, naming the file, when the text is no TypeScript. */
export function parseSource(path: string, text: string): SourceFile {
  try {
    const { code, comments } = tokenize(text);
    const lineCount = text.split('\n').length - (text.endsWith('\n') ? 1 : 0);
    return { path, lineCount, code, comments, imports: findImports(path, code) };
  } catch (error) {
    throw new Error(`${path}: ${String(error)}`, { cause: error });
  }
}

/** `import … from 'x'`, `export … from 'x'`, `import 'x'` and `import('x')`, in types too. */
function findImports(path: string, code: readonly Token[]): Import[] {
  const found: Import[] = [];
  for (const [at, token] of code.entries()) {
    if (token.kind !== 'string') continue;
    const previous = code[at - 1]?.text;
    const isImported =
      previous === 'from' || previous === 'import' || (previous === '(' && code[at - 2]?.text === 'import');
    if (isImported) found.push({ line: token.line, specifier: token.text, target: targetOf(path, token.text) });
  }
  return found;
}

function targetOf(path: string, specifier: string): string | null {
  if (!specifier.startsWith('.')) return null;
  return posix.join(posix.dirname(path), specifier).replace(/\.js$/, '.ts');
}
