import type { Constraint } from './spec.js';

/** A condition that leaves no node, with the earlier ones that it contradicts. */
export interface Contradiction {
  /** Place of the condition among those given. */
  readonly position: number;
  readonly others: readonly Constraint[];
}

/** What the conditions on one key still allow. */
interface Allowed {
  /** The key must be set, or must not be; undefined while both will do. */
  isSet: boolean | undefined;
  /** Values that are still possible; undefined while nothing limits them. */
  values: readonly string[] | undefined;
  readonly excluded: Set<string>;
  readonly from: Constraint[];
}

/** Conditions that no node can meet together, the first for each key. Pure. Cost: O(conditions x values). */
export function contradictions(constraints: readonly Constraint[]): Contradiction[] {
  const byKey = new Map<string, Allowed>();
  const found = new Map<string, Contradiction>();
  for (const [position, constraint] of constraints.entries()) {
    const { key } = constraint;
    if (found.has(key)) continue;
    const allowed = byKey.get(key) ?? anything();
    byKey.set(key, allowed);
    if (narrow(allowed, constraint)) allowed.from.push(constraint);
    else found.set(key, { position, others: opponents(allowed.from, constraint) });
  }
  return [...found.values()];
}

function anything(): Allowed {
  return { isSet: undefined, values: undefined, excluded: new Set(), from: [] };
}

/** Takes the condition into account; false when it leaves nothing. */
function narrow(allowed: Allowed, { op, values }: Constraint): boolean {
  if (op === 'not-in') {
    for (const value of values) allowed.excluded.add(value);
  } else {
    const isSet = op !== 'absent';
    if (allowed.isSet === !isSet) return false;
    allowed.isSet = isSet;
    if (op === 'in') allowed.values = allowed.values?.filter((value) => values.includes(value)) ?? values;
  }
  return allowed.values === undefined || allowed.values.some((value) => !allowed.excluded.has(value));
}

/** The one that contradicts it by itself, if one does; else all of them together. */
function opponents(earlier: readonly Constraint[], constraint: Constraint): readonly Constraint[] {
  const single = earlier.find((other) => {
    const allowed = anything();
    return narrow(allowed, other) && !narrow(allowed, constraint);
  });
  return single ? [single] : earlier;
}

/** As a person would write it: `arch=x64`, `label:zone not in (eu, us)`, `!label:spot`. */
export function constraintText({ key, op, values }: Constraint): string {
  switch (op) {
    case 'in':
      return values.length === 1 ? `${key}=${values[0]}` : `${key} in (${values.join(', ')})`;
    case 'not-in':
      return values.length === 1 ? `${key}!=${values[0]}` : `${key} not in (${values.join(', ')})`;
    case 'exists':
      return key;
    case 'absent':
      return `!${key}`;
  }
}
