import { assert } from '../../shared/assert.js';

interface Phased<Kind extends string> {
  readonly kind: Kind;
}

/** The next phase, if the table allows the step to it; anything else is a bug in a rule. */
export function step<Kind extends string, Next extends Phased<Kind>>(
  table: Readonly<Record<Kind, readonly Kind[]>>,
  from: Phased<Kind>,
  to: Next,
): Next {
  assert(isAllowed(table, from.kind, to.kind), `illegal transition ${from.kind} -> ${to.kind}`);
  return to;
}

export function isAllowed<Kind extends string>(
  table: Readonly<Record<Kind, readonly Kind[]>>,
  from: Kind,
  to: Kind,
): boolean {
  return table[from].includes(to);
}
