import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { Compile } from 'typebox/schema';
import { isRefusal } from '../../shared/errors.js';
import { contradictions } from '../../shared/job-spec/contradictions.js';
import { formatJobSpec } from '../../shared/job-spec/format.js';
import { parseJobSpec } from '../../shared/job-spec/parse.js';
import { jobSpecJsonSchema, jobSpecSchema } from '../../shared/job-spec/schema.js';
import {
  CONTAINER_NETWORKS,
  type Constraint,
  type ContainerSpec,
  type GpuSpec,
  type JobSpec,
  PULL_POLICIES,
  type ResourceSpec,
  SPEC_LIMITS,
} from '../../shared/job-spec/spec.js';
import { RETRYABLE_ENDS } from '../../shared/outcome.js';
import { WRONG_SPECS } from './wrong-specs.js';

function complaint(input: unknown): string | undefined {
  const spec = parseJobSpec(input);
  return isRefusal(spec) ? spec.detail : undefined;
}

const text = fc.string({ maxLength: 20 }).map((value) => value.replaceAll('\0', '0'));
const stepName = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/);
const size = fc.integer({ min: 1, max: SPEC_LIMITS.maxMiB });
const record = (key: fc.Arbitrary<string>) => fc.dictionary(key, text, { maxKeys: 4 });

const constraints = fc.oneof(
  fc.record({
    key: fc.constantFrom('arch', 'label:a.b'),
    op: fc.constantFrom('exists', 'absent'),
    values: fc.constant([]),
  }),
  fc.record({
    key: fc.constantFrom('os', 'label:zone'),
    op: fc.constantFrom('in', 'not-in'),
    values: fc.uniqueArray(text, { minLength: 1, maxLength: 3 }).map((values) => values.sort()),
  }),
) as fc.Arbitrary<Constraint>;

const run = fc.oneof(
  fc.record({
    kind: fc.constant('command' as const),
    argv: fc.tuple(text.filter(Boolean), text).map((argv) => [...argv]),
  }),
  fc.record({
    kind: fc.constant('script' as const),
    script: text.map((line) => `#!/bin/sh\n${line}`),
    args: fc.array(text, { maxLength: 2 }),
  }),
);

/** The same GPUs, or a share of one, or an amount of memory of each. */
function anyPart(whole: GpuSpec | null): fc.Arbitrary<GpuSpec | null> {
  if (whole === null) return fc.constant(whole);
  return fc.oneof(
    fc.constant(whole),
    fc.integer({ min: 1, max: 999 }).map((shareMillis) => ({ ...whole, count: 1, shareMillis })),
    size.map((memoryMiB) => ({ ...whole, memoryMiB })),
    fc.constantFrom('1g.5gb', '7g.80gb').map((mig) => ({ ...whole, minMemoryMiB: null, mig })),
  );
}

function isPart(gpus: GpuSpec | null): boolean {
  return (gpus?.shareMillis ?? gpus?.memoryMiB) !== undefined;
}
/** Each with a variable and a file of its own. */
const secretUse = fc
  .tuple(fc.constantFrom('a', 'registry:x.y:5', 'C_3'), fc.constantFrom('env', 'file', 'both'))
  .map(([name, as]) => ({
    name,
    ...(as === 'file' ? {} : { env: `SECRET_${name.replaceAll(/\W/g, '_')}` }),
    ...(as === 'env' ? {} : { file: `${name}.file` }),
  }));

const container: fc.Arbitrary<ContainerSpec | undefined> = fc.option(
  fc.record(
    {
      user: fc.constantFrom('nobody', '1000:1000'),
      readOnly: fc.constant(true as const),
      tmpfs: fc.constant(['/tmp', '/run/x y']),
      shmMiB: size,
      network: fc.constantFrom(...CONTAINER_NETWORKS),
      pidsLimit: fc.integer({ min: 1, max: SPEC_LIMITS.maxPids }),
      capAdd: fc.constant(['CHOWN']),
      pull: fc.constantFrom(...PULL_POLICIES),
      entrypoint: fc.constant('image' as const),
    },
    { requiredKeys: ['user'] },
  ),
  { nil: undefined },
);

const part = fc.stringMatching(/^[a-zA-Zä.]{1,8}$/).filter((name) => !/^\.+$/.test(name));
const path = fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
const staging = fc.record(
  {
    inputs: fc.uniqueArray(
      fc.record(
        {
          source: fc.oneof(
            fc
              .constantFrom('https://a/b?c', 's3://bucket/k', 'file:///a')
              .map((url) => ({ kind: 'url' as const, url })),
            text.map((content) => ({ kind: 'content' as const, content })),
          ),
          to: path.map((rest) => `in/${rest}`),
          sha256: fc.constant('0'.repeat(64)),
          mode: fc.integer({ min: 1, max: 0o777 }),
        },
        { requiredKeys: ['source', 'to'] },
      ),
      { minLength: 1, maxLength: 3, selector: ({ to }) => to.toLowerCase() },
    ),
    outputs: fc.array(fc.record({ path, as: path, required: fc.constant(true as const) }, { requiredKeys: ['path'] }), {
      minLength: 1,
      maxLength: 3,
    }),
    volumes: fc.uniqueArray(
      fc.record(
        { name: fc.constantFrom('a', 'b'), mount: path, writable: fc.constant(true as const), subpath: path },
        { requiredKeys: ['name', 'mount'] },
      ),
      { minLength: 1, maxLength: 2, selector: ({ mount }) => mount.toLowerCase() },
    ),
  },
  { requiredKeys: [] },
);

const anyStep = fc.record({
  name: stepName,
  array: fc.constantFrom('0', '1-100', '1-9:2,20', '0-1'),
  image: fc.option(fc.constantFrom('python:3.12', 'a/b@sha256:0')),
  container,
  run,
  env: record(fc.constantFrom('PATH', '__proto__', 'toString', 'x_1')),
  secrets: fc.uniqueArray(secretUse, { maxLength: 3, selector: ({ name }) => name }),
  workdir: fc.option(fc.constantFrom('/', '/data/x y')),
  logLimitMiB: fc.option(size),
  resources: fc.record({
    cpuMillis: fc.integer({ min: 1, max: SPEC_LIMITS.maxCpuMillis }),
    memoryMiB: size,
    diskMiB: fc.nat({ max: 4_096 }),
    gpus: fc
      .option(
        fc.record({
          count: fc.integer({ min: 1, max: 8 }),
          model: fc.constantFrom(null, 'A100', ['A100', 'H100']),
          minMemoryMiB: fc.option(size),
        }),
      )
      .chain(anyPart),
  }),
  exclusive: fc.constantFrom(undefined, true as const),
  pinCpus: fc.constantFrom(undefined, true as const),
  constraints: fc.array(constraints, { maxLength: 3 }).filter((all) => contradictions(all).length === 0),
  timeLimitMs: fc.option(fc.integer({ min: 1, max: SPEC_LIMITS.maxTimeLimitMs })),
  retry: fc.record({
    maxAttempts: fc.integer({ min: 1, max: 100 }),
    backoffMs: fc.nat({ max: 3_600_000 }),
    on: fc.subarray([...RETRYABLE_ENDS]),
  }),
  stop: fc.record({ signal: fc.constantFrom('SIGTERM', 'SIGUSR1'), graceMs: fc.nat({ max: 3_600_000 }) }),
  staged: staging,
});

/** Cores are pinned whole. */
function pinned(resources: ResourceSpec): ResourceSpec {
  return { ...resources, cpuMillis: Math.ceil(resources.cpuMillis / 1_000) * 1_000, pinCpus: true };
}

/** Each step may need those before it, so any list is in dependency order already. */
const anySpec: fc.Arbitrary<JobSpec> = fc.record({
  name: fc.constantFrom('a', 'night-run.2'),
  namespace: fc.constantFrom('default', 'Lab_1'),
  priority: fc.integer({ min: -1_000, max: 1_000 }),
  labels: record(fc.constantFrom('a', 'team.x', 'constructor')),
  steps: fc.uniqueArray(anyStep, { minLength: 1, maxLength: 4, selector: ({ name }) => name }).map((steps) =>
    steps.map(({ container, exclusive, pinCpus, secrets, logLimitMiB, staged, ...one }, position) => ({
      ...one,
      ...staged,
      ...(container === undefined || one.image === null ? {} : { container }),
      ...(logLimitMiB === null ? {} : { logLimitMiB }),
      ...(exclusive && !isPart(one.resources.gpus) ? { exclusive } : {}),
      ...(pinCpus && one.image === null ? { resources: pinned(one.resources) } : {}),
      ...(secrets.length === 0 ? {} : { secrets }),
      driver: one.image === null ? ('process' as const) : ('docker' as const),
      needs: steps
        .slice(0, position)
        .filter((_, before) => before % 2 === 0)
        .map(({ name }) => name),
    })),
  ),
  allowFutureNodes: fc.boolean(),
  hold: fc.boolean(),
});

t.test('the published form of any specification is read back as the same one', async (t) => {
  const schema = Compile(jobSpecSchema);
  t.doesNotThrow(() =>
    fc.assert(
      // Cloned, since the generator's objects have no prototype.
      fc.property(anySpec.map(structuredClone), (spec) => {
        const published = JSON.parse(JSON.stringify(formatJobSpec(spec)));
        return isDeepStrictEqual(parseJobSpec(published), spec) && schema.Check(published);
      }),
      { numRuns: 200 },
    ),
  );
});

t.test('the schema accepts and refuses what the parser does', async (t) => {
  const schema = Compile(jobSpecSchema);
  const good: object[] = [
    { command: ['a', 1, true] },
    { script: 'x', args: ['y'], count: 3, priority: 'low', labels: { a: 1 } },
    { command: ['a'], resources: { cpus: '250m', memory: '15GiB', gpus: 2 }, stop: { signal: 'INT' } },
    { command: ['a'], count: 4, gang: true, checkpoint: { signal: 'USR1', grace: '5m' } },
    { command: ['a'], array: '1-9', maxParallel: 2, resources: { licences: { matlab: 2, 'ansys.cfd': 1 } } },
    { command: ['a'], logLimit: '100MiB' },
    { command: ['a'], resources: { cpus: 2, pinCpus: true } },
    { command: ['a'], secrets: ['a', { name: 'registry:x:1', env: 'X' }, { name: 'a', env: 'A', file: 'b' }] },
    {
      command: ['a'],
      inputs: [{ content: '', to: 'a/b', mode: '0755' }],
      outputs: ['**/*.nii', { path: 'log/', as: 'l' }],
    },
    { command: ['a'], inputs: [{ from: 's3://bucket/key', to: 'x', sha256: 'A'.repeat(64) }] },
    { command: ['a'], volumes: [{ name: 'scans', mount: '/scans', readOnly: false, subpath: 'a/b' }] },
    { command: ['a'], resources: { gpus: { share: 0.25 } } },
    { command: ['a'], resources: { gpus: { mig: '1g.5gb' } } },
    { command: ['a'], exclusive: true, resources: { gpus: 2 } },
    { command: ['a'], user: 'ann' },
    { command: ['a'], resources: { gpus: { count: 1, share: '250m', model: 'a100' } } },
    { command: ['a'], resources: { gpus: { count: 2, memory: '8GiB', model: ['a100', 'h100'] } } },
    { command: ['a'], target: 'hpc/site' },
    { command: ['a'], targets: ['pool/small', 'hpc/site', 'cluster'], prefer: 'price', deadline: '6h' },
    { command: ['a'], image: 'b', driver: 'docker', env: { A: 1 }, constraints: ['arch=x64'], timeLimit: '1h30m' },
    {
      steps: [
        { name: 'a', command: ['a'] },
        { name: 'b', needs: 'a', script: 'x', array: '1-9:2,20' },
      ],
    },
    {
      steps: [
        { name: 'a', command: ['a'], outputs: ['r'] },
        { name: 'b', command: ['b'], inputs: [{ from: { step: 'a', path: 'r/*', tasks: 'all' }, to: 'parts' }] },
      ],
    },
  ];
  for (const input of good) {
    t.strictSame(complaint(input), undefined);
    t.ok(schema.Check(input), JSON.stringify(input));
  }
  // Beyond a schema: byte lengths, arithmetic on ranges and units, the script's own text, names of other steps.
  const beyond =
    /NUL|bytes long|backwards|there is no step|more than|Windows|with several steps|out of range; it is from|no whole number of cores|is not a condition|missing or empty|does not go with|gang|use each name once|means something/;
  const shaped = WRONG_SPECS.filter(
    ([input, message]) => !beyond.test(`${message}`) && !beyond.test(complaint(input) ?? ''),
  );
  t.ok(shaped.length > 25);
  for (const [input] of shaped) t.notOk(schema.Check(input), JSON.stringify(input)?.slice(0, 80));
});

t.test('the published schema is one document with an id and a title', async (t) => {
  t.match(jobSpecJsonSchema(), {
    $id: 'urn:berth:schema:job-spec',
    title: String,
    type: 'object',
    additionalProperties: false,
  });
});
