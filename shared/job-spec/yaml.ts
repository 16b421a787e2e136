import {
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  visit,
} from 'yaml';
import type { FieldPath, Finding, TextPosition } from './findings.js';

export interface YamlInput {
  readonly input: unknown;
  readonly findings: readonly Finding[];
  readonly locate: (path: FieldPath) => TextPosition | undefined;
}

/** Reads one YAML 1.2 document, of which JSON is a part; a key that is given twice is an error. */
export function readYaml(text: string): YamlInput {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const findings = [...document.errors, ...document.warnings].map(({ code, message, pos }): Finding => {
    const { line, col } = lines.linePos(pos[0]);
    return {
      kind: 'invalid',
      path: [],
      message: MESSAGES[code] ?? messageOf(code, message),
      at: { line, column: col },
    };
  });
  const locate = (path: FieldPath): TextPosition | undefined => positionOf(document, path, lines);
  if (findings.length > 0) return { input: undefined, findings, locate };
  keepSpelling(document);
  try {
    return { input: document.toJS(), findings, locate };
  } catch (error) {
    // An alias that expands beyond the library's limit, or that stands before its anchor.
    const message = `the document cannot be read: ${error instanceof Error ? error.message : String(error)}`;
    return { input: undefined, findings: [{ kind: 'invalid', path: [], message }], locate };
  }
}

const MESSAGES: Readonly<Record<string, string>> = {
  DUPLICATE_KEY: 'this key is given twice; keep one of them',
  MULTIPLE_DOCS: 'a second document begins here; a file holds one',
  TAG_RESOLVE_FAILED: 'a text that begins with "!" must be quoted, as in \'!label:spot\'',
  TAB_AS_INDENT: 'indent with spaces; YAML does not allow tabs',
};

function messageOf(code: string, message: string): string {
  const text = message.replace(/\s+/g, ' ').trim();
  return `this is not valid YAML: ${text === '' ? code : text.charAt(0).toLowerCase() + text.slice(1)}`;
}

/** Fields whose values are text whatever they look like. */
const TEXT_FIELDS = new Set(['env', 'labels', 'command', 'args']);

/** YAML reads `1.0` as the number 1 and `0755` as 755; where a text is meant, the user's spelling is the text. */
function keepSpelling(document: Document): void {
  visit(document, {
    Scalar(key, node, ancestors) {
      if (key === 'key' || node.source === undefined) return;
      if (typeof node.value !== 'number' && typeof node.value !== 'boolean') return;
      const isText = ancestors.some(
        (one) => isPair(one) && isScalar(one.key) && TEXT_FIELDS.has(String(one.key.value)),
      );
      if (isText) node.value = node.source;
    },
  });
}

/** Where the field's key or list entry stands; for a field that is missing, what it is missing from. */
function positionOf(document: Document, path: FieldPath, lines: LineCounter): TextPosition | undefined {
  let node: unknown = document.contents;
  let offset = offsetOf(node);
  for (const key of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = node.items.find((one) => isScalar(one.key) && String(one.key.value) === String(key));
      if (!pair) break;
      offset = offsetOf(pair.key) ?? offset;
      node = pair.value;
    } else if (isSeq(node) && typeof key === 'number') {
      node = node.items[key];
      offset = offsetOf(node) ?? offset;
    } else break;
  }
  if (offset === undefined) return undefined;
  const { line, col } = lines.linePos(offset);
  return { line, column: col };
}

function offsetOf(node: unknown): number | undefined {
  return (node as Node | null)?.range?.[0];
}
