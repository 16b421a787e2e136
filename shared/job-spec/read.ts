import { shown } from '../units.js';
import { child, type Field, hint, invalid, isRecord, item, unsupported } from './findings.js';

/**
 * Readers of single values. Each returns the value, or undefined after reporting what is wrong; what is not given is
 * the caller's to decide, mostly by `readOr`.
 */
export type Read<Value> = (field: Field) => Value | undefined;

/** The value, or `fallback` when the field is not given, and also, so that reading can go on, when it is wrong. */
export function readOr<Value, Fallback>(field: Field, read: Read<Value>, fallback: Fallback): Value | Fallback {
  return field.value === undefined ? fallback : (read(field) ?? fallback);
}

export function readText(field: Field, what: string): string | undefined {
  if (typeof field.value !== 'string') return invalid(field, notA(field.value, what));
  if (field.value.includes('\0')) return invalid(field, 'contains a NUL character, which no program can receive');
  return field.value;
}

/** Text, or a number or truth value as its text, as YAML has it for unquoted `3` and `true`. */
export function readScalarText(field: Field, what: string): string | undefined {
  if (typeof field.value !== 'number' && typeof field.value !== 'boolean') return readText(field, what);
  return String(field.value);
}

interface IntegerRange {
  readonly what: string;
  readonly min: number;
  readonly max: number;
}

export function readInteger(field: Field, { what, min, max }: IntegerRange): number | undefined {
  if (typeof field.value !== 'number') return invalid(field, notA(field.value, what));
  if (Number.isInteger(field.value) && field.value >= min && field.value <= max) return field.value;
  return invalid(field, `${shown(field.value)} is out of range; ${what} is a whole number from ${min} to ${max}`);
}

export function readBoolean(field: Field): boolean | undefined {
  return typeof field.value === 'boolean' ? field.value : invalid(field, notA(field.value, 'true or false'));
}

/** One of `names`, or a message with the likeliest of them. */
export function readOneOf<Name extends string>(field: Field, names: readonly Name[]): Name | undefined {
  const found = names.find((name) => name === field.value);
  if (found !== undefined) return found;
  return invalid(field, `${shown(field.value)} is not one of ${names.join(', ')}${hint(field, field.value, names)}`);
}

/** A list of at most `max` entries; entries that cannot be read are left out. */
export function readList<Value>(field: Field, max: number, read: Read<Value>): readonly Value[] | undefined {
  if (!Array.isArray(field.value)) return invalid(field, notA(field.value, 'a list'));
  if (field.value.length > max) return invalid(field, `has ${field.value.length} entries; at most ${max} are allowed`);
  const values: Value[] = [];
  for (const [position, value] of field.value.entries()) {
    const found = read(item(field, position, value));
    if (found !== undefined) values.push(found);
  }
  return values;
}

interface TextMapRules {
  readonly max: number;
  /** What is wrong with a name, if anything. */
  readonly name: (name: string) => string | undefined;
  readonly value: Read<string>;
}

export function readTextMap(field: Field, rules: TextMapRules): Readonly<Record<string, string>> | undefined {
  if (!isRecord(field.value)) return invalid(field, notA(field.value, 'a map of names to texts'));
  const names = Object.keys(field.value);
  if (names.length > rules.max) return invalid(field, `has ${names.length} entries; at most ${rules.max} are allowed`);
  const entries: [string, string][] = [];
  for (const name of names) {
    const entry = child(field, name);
    const complaint = rules.name(name);
    if (complaint !== undefined) invalid(entry, complaint);
    else entries.push([name, rules.value(entry) ?? '']);
  }
  return Object.fromEntries(entries);
}

export interface ObjectShape {
  readonly fields: readonly string[];
  /** Fields that Berth knows and this version cannot honour, with what to do instead. */
  readonly unsupported?: Readonly<Record<string, string>>;
  /** Where a field that is often written here belongs. */
  readonly elsewhere?: Readonly<Record<string, string>>;
}

/** True when the value is an object; every field that is not in its shape is reported. */
export function hasShape(field: Field, shape: ObjectShape, what: string): boolean {
  if (!isRecord(field.value)) {
    invalid(field, notA(field.value, what));
    return false;
  }
  for (const key of Object.keys(field.value))
    if (!shape.fields.includes(key)) reportUnknown(child(field, key), key, shape);
  return true;
}

function reportUnknown(field: Field, key: string, shape: ObjectShape): undefined {
  const reason = own(shape.unsupported, key);
  if (reason !== undefined) return unsupported(field, reason);
  const place = own(shape.elsewhere, key);
  if (place !== undefined) return invalid(field, `does not belong here; write it as "${place}"`);
  return invalid(field, `there is no such field${hint(field, key, shape.fields)}`);
}

function own(table: Readonly<Record<string, string>> | undefined, key: string): string | undefined {
  return table && Object.hasOwn(table, key) ? table[key] : undefined;
}

function notA(value: unknown, what: string): string {
  if (value === null) return `has no value; give ${what} or remove the field`;
  return `${shown(value)} is not ${what}`;
}
