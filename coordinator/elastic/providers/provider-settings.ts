import { Unfit } from '../../../shared/config.js';
import type { Problem } from '../../../shared/errors.js';
import { didYouMean } from '../../../shared/suggest.js';
import { formatDuration, parseDuration, shown } from '../../../shared/units.js';
import { SettingsError } from '../provider.js';

/** One setting of a provider, as it stands below `provider:` of a pool. */
export interface ProviderSetting<Value> {
  /** The value, or what is wrong with what was given and how to write it. */
  readonly parse: (given: unknown) => Value | Unfit;
  /** Of one that must be given: what to write, for whoever left it out. */
  readonly required?: string;
}

export type ProviderSettings = Readonly<Record<string, ProviderSetting<unknown>>>;

type ValueOf<Setting> = Setting extends ProviderSetting<infer Value> ? Value : never;

export type ProviderValues<Schema extends ProviderSettings> = {
  readonly [Name in keyof Schema as Schema[Name] extends { required: string } ? Name : never]: ValueOf<Schema[Name]>;
} & {
  readonly [Name in keyof Schema as Schema[Name] extends { required: string } ? never : Name]?: ValueOf<Schema[Name]>;
};

/** Only what was given. Throws `SettingsError` with every problem found. */
export function readProviderSettings<Schema extends ProviderSettings>(
  kind: string,
  schema: Schema,
  given: Readonly<Record<string, unknown>>,
): ProviderValues<Schema> {
  const problems: Problem[] = Object.keys(given)
    .filter((name) => !Object.hasOwn(schema, name))
    .map((name) => ({ field: name, message: `unknown setting${didYouMean(name, Object.keys(schema))}` }));
  const values: Record<string, unknown> = {};
  for (const [name, { parse, required }] of Object.entries(schema)) {
    if (given[name] === undefined || given[name] === null) {
      if (required !== undefined) problems.push({ field: name, message: `it is missing; write ${required}` });
      continue;
    }
    const value = parse(given[name]);
    if (value instanceof Unfit) problems.push({ field: name, message: value.message });
    else values[name] = value;
  }
  if (problems.length === 0) return values as ProviderValues<Schema>;
  throw new SettingsError(kind, problems);
}

export function textSetting(given: unknown): string | Unfit {
  if (typeof given === 'string' && given !== '') return given;
  return new Unfit(`${shown(given)} is no text; write it in quotes`);
}

export function textsSetting(given: unknown): readonly string[] | Unfit {
  const isList = Array.isArray(given) && given.every((each) => typeof each === 'string');
  return isList ? given : new Unfit(`${shown(given)} is no list of texts; write ["one", "two"]`);
}

export function textMapSetting(given: unknown): Readonly<Record<string, string>> | Unfit {
  const isMap = typeof given === 'object' && given !== null && !Array.isArray(given);
  const entries = isMap ? Object.entries(given) : undefined;
  if (entries?.every(([, value]) => typeof value === 'string')) return Object.fromEntries(entries);
  return new Unfit(`${shown(given)} is no map of texts; write { key: "value" }`);
}

export function durationSetting(most: { readonly mostMs: number }): (given: unknown) => number | Unfit {
  return (given) => {
    const durationMs = parseDuration(given);
    if (typeof durationMs === 'string') return new Unfit(durationMs);
    if (durationMs <= most.mostMs) return durationMs;
    return new Unfit(`${shown(given)} is too long; write ${formatDuration(most.mostMs)} at most`);
  };
}

export function countSetting(range: {
  readonly least: number;
  readonly most: number;
}): (given: unknown) => number | Unfit {
  return (given) => {
    const isFit = Number.isInteger(given) && Number(given) >= range.least && Number(given) <= range.most;
    return isFit
      ? Number(given)
      : new Unfit(`${shown(given)} is not a whole number from ${range.least} to ${range.most}`);
  };
}

export function choiceSetting<const Choice extends string>(
  choices: readonly Choice[],
): (given: unknown) => Choice | Unfit {
  return (given) => {
    const choice = choices.find((each) => each === given);
    return choice ?? new Unfit(`${shown(given)} is none of ${choices.join(', ')}${didYouMean(String(given), choices)}`);
  };
}
