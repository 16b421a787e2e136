import { type Problem, type Refusal, refuse } from './errors.js';
import { didYouMean } from './suggest.js';

/**
 * One setting of a process. Its name in camelCase is its key in the configuration file; `stateDir` is also the flag
 * `--state-dir` and, with the process's prefix, the variable `BERTH_AGENT_STATE_DIR`.
 */
export interface Setting<Value> {
  /** The value, or what is wrong with the text and how to write it. */
  readonly parse: (text: string) => Value | Unfit;
  /** What stands for the value in the help, e.g. `DIR`. */
  readonly placeholder: string;
  readonly help: string;
  /** Given several times, it adds up instead of replacing: `parse` sees the texts joined by line breaks. */
  readonly isRepeatable?: true;
}

export type Settings = Readonly<Record<string, Setting<unknown>>>;

/** Only what was given; defaults are the process's own affair. */
export type GivenValues<Schema extends Settings> = {
  readonly [Name in keyof Schema]?: Schema[Name] extends Setting<infer Value> ? Value : never;
};

/** A text that a setting cannot take. */
export class Unfit {
  readonly message: string;
  constructor(message: string) {
    this.message = message;
  }
}

export interface ConfigSources {
  /** The configuration file's content, already parsed; null when there is none. */
  readonly file: unknown;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly envPrefix: string;
  readonly argv: readonly string[];
}

/**
 * Reads a process's configuration once: file, then environment, then flags; the later wins.
 *
 * @returns the values that were given, or one refusal with every problem found
 */
export function readSettings<Schema extends Settings>(
  schema: Schema,
  sources: ConfigSources,
): { readonly values: GivenValues<Schema> } | Refusal {
  const problems: Problem[] = [];
  const values: Record<string, unknown> = {};
  for (const texts of [
    fromFile(schema, sources, problems),
    fromEnv(schema, sources),
    fromFlags(schema, sources, problems),
  ]) {
    for (const [name, given] of texts) {
      const value = schema[name]?.parse(given.texts.join('\n'));
      if (value instanceof Unfit) problems.push({ field: given.source, message: value.message });
      else values[name] = value;
    }
  }
  if (problems.length === 0) return { values: values as GivenValues<Schema> };
  const detail = problems.map((problem) => `${problem.field}: ${problem.message}`).join('\n');
  return refuse('invalid-request', detail, { problems });
}

/** The flags of a schema, one line each, for `--help`. */
export function describeSettings(schema: Settings): string {
  const rows = Object.entries(schema).map(([name, { placeholder, help }]) => [`${flagOf(name)} ${placeholder}`, help]);
  const width = Math.max(...rows.map(([left]) => (left ?? '').length));
  return rows.map(([left, right]) => `  ${(left ?? '').padEnd(width)}  ${right}`).join('\n');
}

interface Given {
  readonly texts: string[];
  /** How the user named it. */
  readonly source: string;
}

type Texts = Map<string, Given>;

function fromFile(schema: Settings, { file }: ConfigSources, problems: Problem[]): Texts {
  const found: Texts = new Map();
  if (file === null || file === undefined) return found;
  if (typeof file !== 'object' || Array.isArray(file)) {
    problems.push({
      field: 'configuration file',
      message: 'it must hold keys and values, like "stateDir: /var/lib/berth"',
    });
    return found;
  }
  for (const [key, value] of Object.entries(file)) {
    if (!Object.hasOwn(schema, key)) {
      problems.push({ field: key, message: `unknown key${didYouMean(key, Object.keys(schema))}` });
    } else found.set(key, { texts: textsOf(value), source: key });
  }
  return found;
}

/** A list and a map are ways to write a repeatable setting. */
function textsOf(value: unknown): string[] {
  if (Array.isArray(value)) return value.map(String);
  if (typeof value === 'object' && value !== null)
    return Object.entries(value).map(([key, inner]) => `${key}=${inline(inner)}`);
  return [String(value)];
}

/** A map within a map on one line, as a flag has it: `cpus=64,tasks=500`, with lists as `a;b`. */
function inline(value: unknown): string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return String(value);
  return Object.entries(value)
    .map(([key, inner]) => `${key}=${Array.isArray(inner) ? inner.join(';') : inner}`)
    .join(',');
}

function fromEnv(schema: Settings, { env, envPrefix }: ConfigSources): Texts {
  const found: Texts = new Map();
  for (const name of Object.keys(schema)) {
    const variable = `${envPrefix}_${kebab(name).replaceAll('-', '_').toUpperCase()}`;
    const text = env[variable];
    if (text !== undefined && text !== '') found.set(name, { texts: [text], source: variable });
  }
  return found;
}

function fromFlags(schema: Settings, { argv }: ConfigSources, problems: Problem[]): Texts {
  const found: Texts = new Map();
  const names = new Map(Object.keys(schema).map((name) => [flagOf(name), name]));
  for (let position = 0; position < argv.length; position += 1) {
    const [flag = '', ...inline] = (argv[position] ?? '').split('=');
    const name = names.get(flag);
    if (name === undefined) {
      problems.push({ field: flag, message: `unknown flag${didYouMean(flag, names.keys())}` });
      // What follows is its value, if it had one, and not another mistake.
      if (inline.length === 0 && !argv[position + 1]?.startsWith('-')) position += 1;
      continue;
    }
    if (inline.length === 0) position += 1;
    const text = inline.length > 0 ? inline.join('=') : argv[position];
    if (text === undefined)
      problems.push({ field: flag, message: `it needs a value: ${flag} ${schema[name]?.placeholder}` });
    else addFlag(found, { name, flag, text }, schema[name]?.isRepeatable);
  }
  return found;
}

function addFlag(
  found: Texts,
  { name, flag, text }: { name: string; flag: string; text: string },
  repeats?: true,
): void {
  const known = found.get(name);
  if (known && repeats) known.texts.push(text);
  else found.set(name, { texts: [text], source: flag });
}

function flagOf(name: string): string {
  return `--${kebab(name)}`;
}

function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
