import fc from 'fast-check';
import t from 'tap';
import { isRefusal, type Refusal } from '../../shared/errors.js';
import { formatIndexes } from '../../shared/job-spec/array.js';
import { parseJobSpec } from '../../shared/job-spec/parse.js';
import { type Constraint, type JobSpec, SPEC_DEFAULTS, type StepSpec } from '../../shared/job-spec/spec.js';
import { parseRanges } from '../../shared/ranges.js';
import { WRONG_SPECS } from './wrong-specs.js';

function accepted(input: unknown): JobSpec {
  const spec = parseJobSpec(input);
  if (isRefusal(spec)) throw new Error(`refused: ${JSON.stringify(spec.problems)}`);
  return spec;
}

function step(input: object): StepSpec {
  const found = accepted(input).steps[0];
  if (!found) throw new Error('no step');
  return found;
}

function refused(input: unknown): Refusal {
  const refusal = parseJobSpec(input);
  if (!isRefusal(refusal)) throw new Error(`accepted: ${JSON.stringify(refusal)}`);
  return refusal;
}

const complaints = (input: unknown): string[] =>
  (refused(input).problems ?? []).map(({ field, message }) => `${field}: ${message}`);

const defaultStep: StepSpec = {
  name: 'main',
  needs: [],
  array: '0',
  driver: 'process',
  image: null,
  run: { kind: 'command', argv: ['true'] },
  env: {},
  workdir: null,
  resources: { cpuMillis: 1_000, memoryMiB: 512, diskMiB: 0, gpus: null },
  constraints: [],
  timeLimitMs: null,
  retry: SPEC_DEFAULTS.retry,
  stop: SPEC_DEFAULTS.stop,
};

t.test('a job of one command gets every default', async (t) => {
  t.strictSame(accepted({ command: ['true'] }), {
    name: 'true',
    namespace: 'default',
    priority: 0,
    labels: {},
    steps: [defaultStep],
    allowFutureNodes: false,
    hold: false,
  });
});

t.test('every field of a one-step job becomes its canonical value', async (t) => {
  const spec = accepted({
    name: 'align',
    namespace: 'lab',
    priority: 'high',
    labels: { patient: 7, urgent: true },
    hold: true,
    allowFutureNodes: true,
    array: [3, 1, 2, 9],
    image: 'python:3.12',
    script: 'echo hi\n',
    args: ['a', 2, false],
    env: { THREADS: 4, DEBUG: true, EMPTY: '' },
    workdir: '/data',
    resources: { cpus: '1.5', memory: '15GB', disk: '1GiB', gpus: { count: 2, model: 'a100', minMemory: '40GiB' } },
    constraints: ['label:zone in (us, eu)', { key: 'arch', op: 'not-in', values: ['arm64'] }],
    timeLimit: '1h30m',
    retry: { maxAttempts: 5, backoff: '10s', on: ['lost', 'exited'] },
    stop: { signal: 'USR1', grace: '1m' },
  });
  t.strictSame(spec, {
    name: 'align',
    namespace: 'lab',
    priority: 100,
    labels: { patient: '7', urgent: 'true' },
    steps: [
      {
        name: 'main',
        needs: [],
        array: '1-3,9',
        driver: 'docker',
        image: 'python:3.12',
        run: { kind: 'script', script: '#!/bin/sh\necho hi\n', args: ['a', '2', 'false'] },
        env: { THREADS: '4', DEBUG: 'true', EMPTY: '' },
        workdir: '/data',
        resources: {
          cpuMillis: 1_500,
          memoryMiB: 14_306,
          diskMiB: 1_024,
          gpus: { count: 2, model: 'a100', minMemoryMiB: 40_960 },
        },
        constraints: [
          { key: 'label:zone', op: 'in', values: ['eu', 'us'] },
          { key: 'arch', op: 'not-in', values: ['arm64'] },
        ],
        timeLimitMs: 5_400_000,
        retry: { maxAttempts: 5, backoffMs: 10_000, on: ['exited', 'lost'] },
        stop: { signal: 'SIGUSR1', graceMs: 60_000 },
      },
    ],
    allowFutureNodes: true,
    hold: true,
  });
});

t.test('array and count say which tasks there are', async (t) => {
  const table: [object, string][] = [
    [{ array: '1-100' }, '1-100'],
    [{ array: '20, 9, 1-7:2' }, '1-9:2,20'],
    [{ array: '1,2' }, '1-2'],
    [{ array: '1,3' }, '1,3'],
    [{ count: 1 }, '0'],
    [{ count: 4 }, '0-3'],
  ];
  for (const [fields, array] of table)
    t.equal(step({ command: ['a'], ...fields }).array, array, JSON.stringify(fields));
});

t.test('the text of an index set names the same set', async (t) => {
  const text = fc.uniqueArray(fc.nat({ max: 60 }), { minLength: 1 }).map((indexes) => indexes.join(','));
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(text, (array) => {
        const ranges = parseRanges(array, 100);
        if (typeof ranges === 'string') return false;
        return JSON.stringify(parseRanges(formatIndexes(ranges), 100)) === JSON.stringify(ranges);
      }),
    ),
  );
});

t.test('each way to write a constraint becomes one condition', async (t) => {
  const table: [string, Constraint][] = [
    ['label:zone=eu', { key: 'label:zone', op: 'in', values: ['eu'] }],
    ['label:zone != eu', { key: 'label:zone', op: 'not-in', values: ['eu'] }],
    ['label:zone in (us,eu, us)', { key: 'label:zone', op: 'in', values: ['eu', 'us'] }],
    ['arch not in (arm64)', { key: 'arch', op: 'not-in', values: ['arm64'] }],
    ['label:ssd', { key: 'label:ssd', op: 'exists', values: [] }],
    ['!label:spot', { key: 'label:spot', op: 'absent', values: [] }],
  ];
  for (const [text, constraint] of table) {
    t.strictSame(step({ command: ['a'], constraints: [text] }).constraints, [constraint], text);
  }
  for (const wrong of ['', 'label:', 'cpus >= 4', 'a == b', 'zone in ()', 'a="b"', 'a=b, c=d']) {
    t.match(complaints({ command: ['a'], constraints: [wrong] }), [/is not a condition/], wrong);
  }
});

t.test('a script keeps its own #! line', async (t) => {
  const script = '#!/usr/bin/env python3\nprint(1)\n';
  t.strictSame(step({ script }).run, { kind: 'script', script, args: [] });
});

t.test('who asks for attempts gets them for failures of the command too', async (t) => {
  t.strictSame(step({ command: ['a'], retry: { backoff: '1s' } }).retry.on, ['rejected', 'lost']);
  const { on } = step({ command: ['a'], retry: { maxAttempts: 3 } }).retry;
  t.strictSame(on, ['exited', 'signaled', 'start-failed', 'rejected', 'outputs-failed', 'lost']);
  t.strictSame(step({ command: ['a'], retry: { maxAttempts: 3, on: [] } }).retry.on, []);
});

t.test('a job is named after its command, then its file', async (t) => {
  t.equal(accepted({ command: ['/usr/bin/my tool!'] }).name, 'my-tool');
  t.equal(accepted({ script: 'true' }).name, 'job');
  const fromFile = parseJobSpec({ script: 'true' }, { fileName: 'jobs/night.run.sh' });
  t.equal(isRefusal(fromFile) ? fromFile.detail : fromFile.name, 'night.run');
});

t.test('steps come out in dependency order, else in the order of the input', async (t) => {
  const steps = [
    { name: 'report', needs: ['train', 'check'], command: ['a'] },
    { name: 'check', command: ['a'] },
    { name: 'train', needs: 'prepare', command: ['a'] },
    { name: 'prepare', command: ['a'] },
  ];
  const spec = accepted({ steps });
  t.strictSame(
    spec.steps.map(({ name, needs }) => [name, needs]),
    [
      ['check', []],
      ['prepare', []],
      ['train', ['prepare']],
      ['report', ['train', 'check']],
    ],
  );
  t.equal(accepted({ steps: [{ command: ['a'] }] }).steps[0]?.name, 'main');
});

t.test('a circle, an unknown need and a repeated name are named', async (t) => {
  const named = (name: string, ...needs: string[]) => ({ name, needs, command: ['a'] });
  t.strictSame(complaints({ steps: [named('z', 'a'), named('a', 'b'), named('b', 'c'), named('c', 'a')] }), [
    'steps[1].needs: the steps need each other in a circle: a -> b -> c -> a',
  ]);
  t.strictSame(complaints({ steps: [named('a', 'a')] }), [
    'steps[0].needs: the steps need each other in a circle: a -> a',
  ]);
  t.strictSame(complaints({ steps: [named('prepare'), named('train', 'prepaer')] }), [
    'steps[1].needs: there is no step "prepaer"; did you mean "prepare"?',
  ]);
  t.match(complaints({ steps: [named('a'), named('a')] }), [
    'steps[1].name: "a" is also the name of steps[0]; each step has its own',
  ]);
});

t.test('each mistake is refused with its field and a remedy', async (t) => {
  for (const [input, message] of WRONG_SPECS) {
    t.match(complaints(input), { length: 1, 0: message }, JSON.stringify(input)?.slice(0, 80));
    t.equal(refused(input).refused, 'invalid-spec');
  }
});

t.test('all problems are reported together', async (t) => {
  const refusal = refused({ command: 'x', timeLimit: 4, resources: { memory: 15, gpu: 1 } });
  t.strictSame(
    (refusal.problems ?? []).map(({ field }) => field),
    ['command', 'resources.gpu', 'resources.memory', 'timeLimit'],
  );
  t.match(refusal.detail, /^command: .* \(the first of 4 problems\)$/);
});

t.test('a field that this version cannot honour is refused, never ignored', async (t) => {
  const fields = ['pools', 'pool'];
  for (const field of [...fields, 'privileged']) {
    t.match(refused({ command: ['a'], [field]: 1 }), { refused: 'unsupported-field', problems: [{ field }] });
    t.equal(refused({ steps: [{ command: ['a'], [field]: 1 }] }).refused, 'unsupported-field');
  }
  t.equal(refused({ command: 'a', target: 2 }).refused, 'invalid-spec', 'what is wrong as well decides');
});

t.test('a specification larger than its limit is refused', async (t) => {
  const env = Object.fromEntries(Array.from({ length: 11 }, (_, position) => [`V${position}`, 'x'.repeat(100_000)]));
  t.match(complaints({ command: ['a'], env }), [
    /^: the job specification has \d+ bytes; at most 1048576 are allowed$/,
  ]);
});

t.test('thousands of problems are counted, not listed', async (t) => {
  const refusal = refused({ command: new Array(3_000).fill(null) });
  t.equal(refusal.problems?.length, 50);
  t.match(refusal.detail, /first of 3000 problems/);
});

t.test('a step that takes what another leaves needs it, and places are checked for all ways out', async (t) => {
  const producer = { name: 'a', command: ['a'], outputs: ['r'] };
  const consumer = { name: 'b', command: ['b'], inputs: [{ from: { step: 'a', path: 'r' }, to: 'r' }] };
  const spec = parseJobSpec({ steps: [consumer, producer] });
  if (isRefusal(spec)) throw new Error(spec.detail);
  t.strictSame(
    spec.steps.map(({ name, needs }) => [name, needs]),
    [
      ['a', []],
      ['b', ['a']],
    ],
  );
  t.match(complaints({ steps: [{ ...producer, outputs: [] }, consumer] }), [/"a" has no "outputs"/]);
  const one = (parts: object) => complaints({ command: ['a'], ...parts });
  const content = (to: string) => ({ content: 'x', to });
  for (const to of ['../x', 'a/../../x', '/x', 'a\\b', '.', 'a//b', 'a\nb']) {
    t.match(one({ inputs: [content(to)] }), [/^inputs\[0\]\.to: /], to);
    t.match(one({ outputs: [to] }), [/^outputs\[0\]: /], to);
    t.match(one({ outputs: [{ path: 'x', as: to }] }), [/^outputs\[0\]\.as: /], to);
    t.match(one({ volumes: [{ name: 'v', mount: 'm', subpath: to }] }), [/^volumes\[0\]\.subpath: /], to);
  }
  for (const mount of ['/', '../m', '/a/../..', 'a/./b']) {
    t.match(one({ volumes: [{ name: 'v', mount }] }), [/^volumes\[0\]\.mount: /], mount);
  }
  t.match(one({ inputs: [content('Result'), content('result')] }), [/puts two files to "result" and "Result"/]);
  t.match(one({ inputs: [content('in/x')], volumes: [{ name: 'v', mount: 'In' }] }), [/mounts "In" where the input/]);
  t.match(one({ inputs: [{ from: 'https://me:secret@host/x', to: 'x' }] }), [/has a password in it/]);
});
