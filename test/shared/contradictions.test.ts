import fc from 'fast-check';
import t from 'tap';
import { isRefusal } from '../../shared/errors.js';
import { constraintText, contradictions } from '../../shared/job-spec/contradictions.js';
import { parseJobSpec } from '../../shared/job-spec/parse.js';
import type { Constraint } from '../../shared/job-spec/spec.js';

function problemsOf(constraints: readonly string[]): string[] {
  const read = parseJobSpec({ command: ['a'], constraints });
  return isRefusal(read) ? (read.problems ?? []).map(({ field, message }) => `${field}: ${message}`) : [];
}

t.test('conditions that no node can meet together are refused, with both and the remedy', (t) => {
  const table: [string[], string][] = [
    [
      ['arch=x64', 'arch=arm64'],
      'constraints[1]: arch=arm64 contradicts arch=x64: no node can meet both; remove one, or write arch in (arm64, x64) if any will do',
    ],
    [
      ['!label:ssd', 'label:ssd'],
      'constraints[1]: label:ssd contradicts !label:ssd: no node can meet both; remove one',
    ],
    [
      ['label:a=1', 'os=linux', '!label:a'],
      'constraints[2]: !label:a contradicts label:a=1: no node can meet both; remove one',
    ],
    [
      ['label:zone in (eu, us)', 'label:zone not in (eu, us)'],
      'constraints[1]: label:zone not in (eu, us) contradicts label:zone in (eu, us): no node can meet both; remove one',
    ],
    [
      ['label:zone in (eu, us)', 'label:zone!=eu', 'label:zone != us'],
      'constraints[2]: label:zone!=us contradicts label:zone in (eu, us) and label:zone!=eu: no node can meet all of them; remove one',
    ],
  ];
  for (const [constraints, message] of table) t.strictSame(problemsOf(constraints), [message]);
  const fine = [
    ['arch=x64', 'label:arch=arm64'],
    ['arch in (x64, arm64)', 'arch!=x64'],
    ['!label:spot', 'label:spot!=yes'],
    ['label:ssd', 'label:ssd!=old'],
    ['arch=x64', 'arch=x64'],
  ];
  for (const constraints of fine) t.strictSame(problemsOf(constraints), [], constraints.join());
  t.strictSame(problemsOf(['a=1', 'a=2', 'a=3', 'b', '!b']).length, 2, 'one for each key');
  t.end();
});

const VALUES = ['x', 'y', 'z'];
const anyConstraint: fc.Arbitrary<Constraint> = fc.oneof(
  fc
    .record({ op: fc.constantFrom('in' as const, 'not-in' as const), values: fc.subarray(VALUES, { minLength: 1 }) })
    .map((parts) => ({ key: 'k', ...parts })),
  fc.constantFrom('exists' as const, 'absent' as const).map((op) => ({ key: 'k', op, values: [] })),
);

/** Whether a node with this value of the key, or without the key, meets the condition. */
function meets({ op, values }: Constraint, actual: string | undefined): boolean {
  if (op === 'exists' || op === 'absent') return (op === 'exists') === (actual !== undefined);
  return op === 'in'
    ? actual !== undefined && values.includes(actual)
    : actual === undefined || !values.includes(actual);
}

t.test('they contradict each other exactly if no value, and not being set neither, would do', (t) => {
  fc.assert(
    fc.property(fc.array(anyConstraint, { maxLength: 5 }), (constraints) => {
      const isPossible = [undefined, ...VALUES, 'another'].some((actual) =>
        constraints.every((constraint) => meets(constraint, actual)),
      );
      const found = contradictions(constraints);
      if (isPossible !== (found.length === 0)) throw new Error(constraints.map(constraintText).join('; '));
    }),
    { numRuns: 500, seed: 2 },
  );
  t.pass('500 random sets of conditions');
  t.end();
});
