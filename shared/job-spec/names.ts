import { NAME } from '../ids.js';
import { shown } from '../units.js';
import { type Field, invalid } from './findings.js';
import { readScalarText, readText, readTextMap } from './read.js';
import { SPEC_LIMITS } from './spec.js';

/** The name of a job, a namespace, a pool. */
export function readName(field: Field): string | undefined {
  const name = readText(field, 'a name');
  if (name === undefined || NAME.test(name)) return name;
  return invalid(
    field,
    `${shown(name)} is not a name; use up to 128 letters, digits, dots, dashes and underscores, a letter or digit at both ends`,
  );
}

export function readLabels(field: Field): Readonly<Record<string, string>> | undefined {
  return readTextMap(field, {
    max: SPEC_LIMITS.maxLabels,
    name: (name) =>
      NAME.test(name) ? undefined : 'is not a label name; use letters, digits, dots, dashes and underscores',
    value: readLabelValue,
  });
}

function readLabelValue(field: Field): string | undefined {
  const value = readScalarText(field, 'a text');
  if (value === undefined || value.length <= SPEC_LIMITS.maxValueLength) return value;
  return invalid(field, `is ${value.length} characters long; at most ${SPEC_LIMITS.maxValueLength} are allowed`);
}
