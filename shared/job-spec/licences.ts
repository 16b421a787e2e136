import { NAME } from '../ids.js';
import { shown } from '../units.js';
import { child, type Field, invalid, isRecord } from './findings.js';
import { readInteger } from './read.js';
import { SPEC_LIMITS } from './spec.js';

/** How many of each licence a task holds, by name in alphabetical order; undefined when it needs none. */
export function readLicences(field: Field): Readonly<Record<string, number>> | undefined {
  if (!isRecord(field.value)) {
    return invalid(field, `${shown(field.value)} is not a map of licences; write for example {matlab: 1}`);
  }
  const names = Object.keys(field.value).sort();
  if (names.length > SPEC_LIMITS.maxLicences) {
    return invalid(field, `has ${names.length} entries; at most ${SPEC_LIMITS.maxLicences} are allowed`);
  }
  const entries: [string, number][] = [];
  for (const name of names) {
    const entry = child(field, name);
    const range = { what: 'a number of licences', min: 1, max: SPEC_LIMITS.maxLicenceCount };
    const count = readInteger(entry, range);
    if (!NAME.test(name))
      invalid(entry, 'is not the name of a licence; use letters, digits, dots, dashes, underscores');
    else if (count !== undefined) entries.push([name, count]);
  }
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}
