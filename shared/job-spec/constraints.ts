import { shown } from '../units.js';
import { constraintText, contradictions } from './contradictions.js';
import { CONSTRAINT_SHAPE } from './fields.js';
import { child, type Field, invalid } from './findings.js';
import { hasShape, readList, readOneOf, readOr, readScalarText, readText } from './read.js';
import { type Constraint, type ConstraintOp, SPEC_LIMITS } from './spec.js';

const KEY = '(?:label:)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?';
const VALUE = '[^\\s"\'(),=!<>](?:[^"\'(),=!<>]*[^\\s"\'(),=!<>])?';

const WHOLE_KEY = new RegExp(`^${KEY}$`);
const PRESENCE = new RegExp(`^(!?)\\s*(${KEY})$`);
const EQUALITY = new RegExp(`^(${KEY})\\s*(!?=)\\s*(${VALUE})$`);
const MEMBERSHIP = new RegExp(`^(${KEY})\\s+(not\\s+)?in\\s*\\(\\s*(${VALUE}(?:\\s*,\\s*${VALUE})*)\\s*\\)$`);

const OPS: readonly ConstraintOp[] = ['in', 'not-in', 'exists', 'absent'];

/** Conditions of which a node must meet all; those that no node could are refused together. */
export function readConstraints(field: Field): readonly Constraint[] | undefined {
  const read = readList(field, SPEC_LIMITS.maxConstraints, (entry) => {
    const constraint = readConstraint(entry);
    return constraint && { entry, constraint };
  });
  const constraints = read?.map(({ constraint }) => constraint) ?? [];
  for (const { position, others } of contradictions(constraints)) {
    const given = read?.[position];
    if (given) invalid(given.entry, describeContradiction(given.constraint, others));
  }
  return read && constraints;
}

function describeContradiction(constraint: Constraint, others: readonly Constraint[]): string {
  const all = [...others, constraint];
  const either = [...new Set(all.flatMap(({ values }) => values))].sort();
  const remedy =
    all.every(({ op }) => op === 'in') && either.length > 1
      ? `, or write ${constraintText({ key: constraint.key, op: 'in', values: either })} if any will do`
      : '';
  const against = others.map(constraintText).join(' and ');
  return `${constraintText(constraint)} contradicts ${against}: no node can meet ${others.length === 1 ? 'both' : 'all of them'}; remove one${remedy}`;
}

/** A condition on the node: `label:zone=eu`, `arch in (x64, arm64)`, `label:ssd`, `!label:spot`, or {key, op, values}. */
function readConstraint(field: Field): Constraint | undefined {
  if (typeof field.value !== 'string') return readConstraintObject(field);
  const constraint = parseConstraint(field.value.trim());
  if (constraint) return withinLimits(field, constraint);
  return invalid(
    field,
    `${shown(field.value)} is not a condition; write label:zone=eu, label:zone!=eu, label:zone in (eu, us), label:ssd or !label:spot`,
  );
}

/** The condition that the text says, or undefined when it says none. */
function parseConstraint(text: string): Constraint | undefined {
  const equality = EQUALITY.exec(text);
  if (equality) return constraintOf(equality[1], equality[2] === '=' ? 'in' : 'not-in', [equality[3] ?? '']);
  const membership = MEMBERSHIP.exec(text);
  if (membership) {
    const values = (membership[3] ?? '').split(',').map((value) => value.trim());
    return constraintOf(membership[1], membership[2] === undefined ? 'in' : 'not-in', values);
  }
  const presence = PRESENCE.exec(text);
  return presence ? constraintOf(presence[2], presence[1] === '' ? 'exists' : 'absent', []) : undefined;
}

/** Values sorted, each once, so that equal conditions are equal records. */
function constraintOf(key: string | undefined, op: ConstraintOp, values: readonly string[]): Constraint {
  return { key: key ?? '', op, values: [...new Set(values)].sort() };
}

function readConstraintObject(field: Field): Constraint | undefined {
  if (!hasShape(field, CONSTRAINT_SHAPE, 'a condition, such as label:zone=eu or {key, op, values}')) return undefined;
  const key = readKey(child(field, 'key'));
  const op = readOp(child(field, 'op'));
  const list = child(field, 'values');
  const values = readOr(list, readValues, []);
  if (key === undefined || op === undefined) return undefined;
  const takesValues = op === 'in' || op === 'not-in';
  if (takesValues && values.length === 0)
    return invalid(list, `is missing or empty; "${op}" compares with at least one value`);
  if (!takesValues && values.length > 0) return invalid(list, `does not go with "${op}"; remove it`);
  return withinLimits(field, constraintOf(key, op, values));
}

function readKey(field: Field): string | undefined {
  if (field.value === undefined) return invalid(field, 'is missing; write a node attribute or label:NAME');
  const key = readText(field, 'a node attribute or label:NAME');
  if (key === undefined || WHOLE_KEY.test(key)) return key;
  return invalid(field, `${shown(key)} is neither a node attribute such as arch nor label:NAME`);
}

function readOp(field: Field): ConstraintOp | undefined {
  return field.value === undefined
    ? invalid(field, `is missing; write one of ${OPS.join(', ')}`)
    : readOneOf(field, OPS);
}

function readValues(field: Field): readonly string[] | undefined {
  return readList(field, SPEC_LIMITS.maxConstraintValues, (entry) => readScalarText(entry, 'a text'));
}

function withinLimits(field: Field, constraint: Constraint): Constraint | undefined {
  if (constraint.values.length > SPEC_LIMITS.maxConstraintValues) {
    return invalid(
      field,
      `has ${constraint.values.length} values; at most ${SPEC_LIMITS.maxConstraintValues} are allowed`,
    );
  }
  const long = constraint.values.find((value) => value.length > SPEC_LIMITS.maxValueLength);
  if (long === undefined) return constraint;
  return invalid(field, `has a value of ${long.length} characters; at most ${SPEC_LIMITS.maxValueLength} are allowed`);
}
