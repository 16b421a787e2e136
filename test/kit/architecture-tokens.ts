/**
 * Splits TypeScript into tokens: enough to see imports, blocks and names, without the compiler.
 *
 * Comments are kept apart, so that nothing said in prose counts as code; strings are one token each. Whether a slash
 * begins a regular expression is told by the token before it, which is right for all code that a formatter has seen.
 */
export interface Token {
  readonly kind: 'word' | 'number' | 'string' | 'template' | 'regex' | 'punctuation';
  /** As written; for strings and templates what stands between the quotes. */
  readonly text: string;
  readonly line: number;
}

export interface Comment {
  readonly text: string;
  readonly line: number;
}

export interface Tokens {
  readonly code: readonly Token[];
  readonly comments: readonly Comment[];
}

const SPACE = /\s+/y;
const LINE_COMMENT = /\/\/[^\n]*/y;
const BLOCK_COMMENT = /\/\*[\s\S]*?\*\//y;
const WORD = /[A-Za-z_$#][\w$]*/y;
const NUMBER = /\d[\w.]*/y;
const QUOTED = /'(?:[^'\\\n]|\\[\s\S])*'|"(?:[^"\\\n]|\\[\s\S])*"/y;
const REGEX = /\/(?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y;
const PUNCTUATION = /=>|\.\.\.|===|!==|==|!=|\?\.|\?\?=?|&&=?|\|\|=?|[-+*/%<>|&^]=|\*\*|\+\+|--|[^\w\s]/y;
const TEMPLATE_PIECE = /(?:[^`\\$]|\\[\s\S]|\$(?!\{))*/y;

/** Words after which an expression begins, so that a slash or a bang is not an operator behind a value. */
const BEFORE_EXPRESSION = new Set(
  'return typeof case in of do else void yield await delete throw new instanceof extends default'.split(' '),
);

/** True when the token ends a value: what follows is an operator on it. */
export function endsValue(token: Token | undefined): boolean {
  if (token === undefined) return false;
  if (token.kind === 'word') return !BEFORE_EXPRESSION.has(token.text);
  if (token.kind === 'punctuation') return token.text === ')' || token.text === ']' || token.text === '}';
  return true;
}

/** Throws on text that is no TypeScript, such as a string without an end. */
export function tokenize(source: string): Tokens {
  const reader = new Reader(source.replace(/^#!.*/, ''));
  reader.readCode(undefined);
  return { code: reader.code, comments: reader.comments };
}

class Reader {
  readonly code: Token[] = [];
  readonly comments: Comment[] = [];
  readonly #source: string;
  #at = 0;
  #line = 1;

  constructor(source: string) {
    this.#source = source;
  }

  /** Reads to the end of the text or, inside a template's `${`, to the brace that closes it. */
  readCode(closing: '}' | undefined): void {
    let depth = 0;
    while (this.#at < this.#source.length) {
      if (this.#take(SPACE) !== undefined) continue;
      if (this.#readComment()) continue;
      if (this.#source[this.#at] === '`') {
        this.#readTemplate();
        continue;
      }
      if (closing && depth === 0 && this.#source[this.#at] === closing) return;
      const token = this.#readToken();
      if (token.kind === 'punctuation' && token.text === '{') depth += 1;
      if (token.kind === 'punctuation' && token.text === '}') depth -= 1;
      this.code.push(token);
    }
    if (closing) throw new Error(`line ${this.#line}: a template has no end`);
  }

  #readComment(): boolean {
    const line = this.#line;
    const text = this.#take(LINE_COMMENT) ?? this.#take(BLOCK_COMMENT);
    if (text !== undefined) this.comments.push({ text, line });
    return text !== undefined;
  }

  #readToken(): Token {
    const line = this.#line;
    const quoted = this.#take(QUOTED);
    if (quoted !== undefined) return { kind: 'string', text: quoted.slice(1, -1), line };
    const word = this.#take(WORD);
    if (word !== undefined) return { kind: 'word', text: word, line };
    const number = this.#take(NUMBER);
    if (number !== undefined) return { kind: 'number', text: number, line };
    const regex = endsValue(this.code.at(-1)) ? undefined : this.#take(REGEX);
    if (regex !== undefined) return { kind: 'regex', text: regex, line };
    const punctuation = this.#take(PUNCTUATION);
    if (punctuation === undefined || /['"]/.test(punctuation)) throw new Error(`line ${line}: cannot be read`);
    return { kind: 'punctuation', text: punctuation, line };
  }

  /** One token for the fixed text, placed first; the code of each `${…}` follows in parentheses. */
  #readTemplate(): void {
    const line = this.#line;
    const at = this.code.length;
    let text = '';
    this.#at += 1;
    for (;;) {
      text += this.#take(TEMPLATE_PIECE) ?? '';
      if (this.#source[this.#at] === '`') break;
      if (this.#at >= this.#source.length) throw new Error(`line ${line}: a template has no end`);
      this.#at += 2;
      this.code.push({ kind: 'punctuation', text: '(', line: this.#line });
      this.readCode('}');
      this.code.push({ kind: 'punctuation', text: ')', line: this.#line });
      this.#at += 1;
    }
    this.#at += 1;
    this.code.splice(at, 0, { kind: 'template', text, line });
  }

  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const text = pattern.exec(this.#source)?.[0];
    if (!text) return undefined;
    this.#at += text.length;
    this.#line += text.split('\n').length - 1;
    return text;
  }
}
