/**
 * Lines of a script that say how to run it, before its first command:
 *
 *   #BERTH --cpus 4 --memory 15GiB     the flags of `berth run`
 *   #SBATCH --cpus-per-task=4          Slurm's options, see sbatch.ts
 *
 * A `##BERTH` line is a comment. A directive after the first command would have no effect, so it is refused.
 */
export interface DirectiveLine {
  readonly dialect: 'BERTH' | 'SBATCH';
  readonly line: number;
  readonly text: string;
}

export interface Directives {
  readonly lines: readonly DirectiveLine[];
  /** Directives that stand after the first command. */
  readonly late: readonly DirectiveLine[];
}

const DIRECTIVE = /^#(BERTH|SBATCH)(?:[ \t]+(.*))?$/;
const HERE_DOCUMENT = /(?<!<)<<-?\s*(['"]?)([A-Za-z_][A-Za-z0-9_]*)\1/;

/** The directives of a script. What stands in a here-document is text for another program and is left alone. */
export function findDirectives(script: string): Directives {
  const lines: DirectiveLine[] = [];
  const late: DirectiveLine[] = [];
  let hasBegun = false;
  let terminator: string | undefined;
  for (const [position, raw] of script.split('\n').entries()) {
    const text = raw.replace(/\r$/, '');
    if (terminator !== undefined) {
      if (text.trim() === terminator) terminator = undefined;
      continue;
    }
    const match = DIRECTIVE.exec(text);
    if (match) {
      const dialect = match[1] === 'SBATCH' ? 'SBATCH' : 'BERTH';
      (hasBegun ? late : lines).push({ dialect, line: position + 1, text: match[2] ?? '' });
    } else if (text.trim() !== '' && !text.trimStart().startsWith('#')) {
      hasBegun = true;
      terminator = HERE_DOCUMENT.exec(text)?.[2];
    }
  }
  return { lines, late };
}

/** An option as written: `--mem=4G`, `--mem 4G`, `-c4`, `-c 4`. */
export interface WrittenOption {
  readonly name: string;
  readonly value: string | null;
}

/**
 * Splits a directive into options.
 *
 * @param takesValue whether the option takes a value; undefined for an unknown one, which ends the reading
 * @returns the options, or a message that says what is wrong with the line
 */
export function readOptions(
  text: string,
  takesValue: (name: string) => boolean | undefined,
): readonly WrittenOption[] | string {
  const words = splitWords(text);
  if (typeof words === 'string') return words;
  const options: WrittenOption[] = [];
  for (let position = 0; position < words.length; position += 1) {
    const word = words[position] ?? '';
    const { name, attached } = splitOption(word);
    if (name === undefined)
      return `"${word}" is no option; options begin with a dash, and values with spaces are quoted`;
    const takes = takesValue(name);
    if (takes === undefined) return [...options, { name, value: attached }];
    if (!takes && attached !== null) return `${name} takes no value`;
    if (!takes || attached !== null) options.push({ name, value: attached });
    else {
      position += 1;
      const value = words[position];
      if (value === undefined) return `${name} needs a value`;
      options.push({ name, value });
    }
  }
  return options;
}

function splitOption(word: string): { readonly name: string | undefined; readonly attached: string | null } {
  const long = /^(--[A-Za-z][A-Za-z0-9-]*)(?:=([\s\S]*))?$/.exec(word);
  if (long) return { name: long[1], attached: long[2] ?? null };
  const short = /^(-[A-Za-z])=?([\s\S]+)?$/.exec(word);
  return { name: short?.[1], attached: short?.[2] ?? null };
}

const WORD_PART = /'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|([^\s'"\\]+)/y;

/** Words as a shell splits them, without expansion; `#` at the start of a word begins a comment. */
export function splitWords(text: string): readonly string[] | string {
  const words: string[] = [];
  let position = 0;
  while (position < text.length) {
    if (/\s/.test(text[position] ?? '')) {
      position += 1;
      continue;
    }
    if (text[position] === '#') break;
    let word = '';
    while (position < text.length && !/\s/.test(text[position] ?? '')) {
      WORD_PART.lastIndex = position;
      const part = WORD_PART.exec(text);
      if (!part) return 'a quote or backslash is not closed';
      word += part[1] ?? part[2]?.replace(/\\(.)/g, '$1') ?? part[3] ?? part[4] ?? '';
      position = WORD_PART.lastIndex;
    }
    words.push(word);
  }
  return words;
}
