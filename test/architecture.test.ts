import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { CODES } from '../shared/errors.js';
import * as checks from './kit/architecture-checks.js';
import { functionSizes, methodCount } from './kit/architecture-sizes.js';
import { listFiles, parseSource, readSources, readText, type SourceFile } from './kit/architecture-source.js';

/** Each in a folder of its own; none knows of another. */
const PROVIDERS = ['process', 'docker', 'command', 'libvirt', 'ec2', 'azure', 'gcp', 'openstack', 'im'];

/** Who may import whom. A file belongs to the first layer that names it; every layer may import itself. */
const LAYERS: readonly checks.Layer[] = [
  // The agent wire's generated code, seen by its one translator only.
  { name: 'codec', files: ['shared/wire/codec.ts', 'shared/wire/codec/'], mayImport: ['shared', 'generated'] },
  { name: 'generated', files: ['proto/gen/'], mayImport: [] },
  { name: 'shared', files: ['shared/'], mayImport: ['codec'] },

  // The coordinator's pure middle: (view, input, now) in, events or a plan out.
  { name: 'model', files: ['coordinator/model/'], mayImport: ['shared'], nature: 'pure' },
  { name: 'provider port', files: ['coordinator/elastic/provider.ts'], mayImport: ['shared'], nature: 'closed' },
  {
    name: 'inputs',
    files: ['coordinator/engine/inputs.ts'],
    mayImport: ['shared', 'model', 'provider port'],
    nature: 'pure',
  },
  {
    name: 'rules',
    files: ['coordinator/rules/'],
    mayImport: ['shared', 'model', 'inputs', 'provider port'],
    nature: 'pure',
  },
  { name: 'scheduler', files: ['coordinator/scheduler/'], mayImport: ['shared', 'model'], nature: 'pure' },
  {
    name: 'elastic policy',
    files: ['coordinator/elastic/policy.ts', 'coordinator/elastic/policy/'],
    mayImport: ['shared', 'model', 'scheduler'],
    nature: 'pure',
  },

  {
    name: 'routing',
    files: ['coordinator/routing/'],
    mayImport: ['shared', 'model', 'scheduler', 'elastic policy'],
    nature: 'pure',
  },

  // The loop, and what it wants from the world.
  {
    name: 'store port',
    files: ['coordinator/store/store.ts', 'coordinator/store/archive.ts'],
    mayImport: ['shared', 'model'],
    nature: 'closed',
  },
  {
    name: 'gateway port',
    files: ['coordinator/gateway/ports.ts'],
    mayImport: ['shared', 'model', 'inputs'],
    nature: 'closed',
  },
  {
    name: 'engine',
    files: ['coordinator/engine/'],
    mayImport: [
      ...['shared', 'model', 'inputs', 'rules', 'scheduler', 'elastic policy', 'routing'],
      ...['store port', 'gateway port'],
    ],
    nature: 'closed',
  },

  {
    name: 'artifact port',
    files: ['coordinator/artifacts/artifact-store.ts'],
    mayImport: ['shared'],
    nature: 'closed',
  },

  // Adapters: each knows its own port and never another adapter. What they know of disks is one file.
  { name: 'disk', files: ['coordinator/gateway/disk.ts'], mayImport: [] },
  { name: 'artifacts', files: ['coordinator/artifacts/'], mayImport: ['shared', 'artifact port', 'disk'] },
  {
    name: 'machine ledger',
    files: ['coordinator/elastic/machine-ledger.ts'],
    mayImport: ['shared', 'model', 'disk'],
  },
  {
    name: 'machine operator',
    files: ['machine-operator', 'machine-watch', 'provider-calls', 'gate'].map(
      (file) => `coordinator/elastic/${file}.ts`,
    ),
    mayImport: ['shared', 'model', 'inputs', 'engine', 'provider port'],
  },
  ...PROVIDERS.map((name) => ({
    name: `${name} provider`,
    files: [`coordinator/elastic/providers/${name}/`],
    mayImport: ['shared', 'provider port', 'provider parts', 'bootstrap'],
  })),
  {
    name: 'provider parts',
    files: ['coordinator/elastic/providers/'],
    mayImport: ['shared', 'provider port', 'bootstrap'],
  },
  { name: 'bootstrap', files: ['coordinator/elastic/bootstrap.ts'], mayImport: ['provider port'], nature: 'pure' },
  {
    name: 'provider kinds',
    files: ['coordinator/elastic/provider-kinds.ts', 'coordinator/elastic/refuse-provider.ts'],
    mayImport: ['shared', 'provider port', ...PROVIDERS.map((name) => `${name} provider`)],
  },
  { name: 'store', files: ['coordinator/store/'], mayImport: ['shared', 'model', 'inputs', 'store port'] },
  { name: 'secrets', files: ['coordinator/secrets/'], mayImport: ['shared', 'disk'] },
  { name: 'pricing', files: ['coordinator/pricing/'], mayImport: ['shared', 'scheduler'] },
  {
    name: 'gateway',
    files: ['coordinator/gateway/'],
    mayImport: ['shared', 'model', 'inputs', 'gateway port', 'disk'],
  },

  // The HPC bridge: what is decided without asking anybody, the port, and what is behind it.
  {
    name: 'hpc port',
    files: [
      ...['coordinator/hpc/backend.ts', 'coordinator/hpc/perform-step.ts', 'coordinator/hpc/secret-files.ts'],
      ...['coordinator/hpc/witnesses.ts', 'coordinator/hpc/explain-end.ts'],
    ],
    mayImport: ['shared', 'hpc policy'],
    nature: 'closed',
  },
  { name: 'hpc shell', files: ['coordinator/hpc/shell/'], mayImport: ['shared', 'hpc policy', 'hpc port'] },
  {
    name: 'hpc backends',
    files: ['coordinator/hpc/backends/'],
    mayImport: ['shared', 'hpc policy', 'hpc port', 'hpc shell'],
  },
  {
    name: 'hpc connector',
    files: ['coordinator/hpc/connector/'],
    mayImport: ['shared', 'hpc policy', 'hpc port', 'hpc backends'],
  },
  {
    name: 'hpc operator',
    files: ['coordinator/hpc/operator/'],
    mayImport: ['shared', 'model', 'inputs', 'routing', 'engine', 'artifact port', 'hpc policy', 'hpc port'],
  },
  { name: 'hpc policy', files: ['coordinator/hpc/'], mayImport: ['shared'], nature: 'pure' },

  // Use cases, which ask those who decide only why something waits, and for how long; then HTTP around them.
  {
    name: 'service',
    files: ['coordinator/service/'],
    mayImport: ['shared', 'model', 'inputs', 'scheduler', 'elastic policy', 'routing', 'engine', 'artifact port'],
  },
  { name: 'http', files: ['coordinator/http/'], mayImport: ['shared', 'service'] },
  { name: 'view', files: ['coordinator/view/'], mayImport: ['shared'] },
  // The simulator is a program of its own: the pure middle and the engine, with everything outside them made up.
  {
    name: 'simulate',
    files: ['coordinator/simulate/'],
    mayImport: ['shared', 'model', 'inputs', 'provider port', 'elastic policy', 'scheduler', 'engine', 'store', 'view'],
  },
  { name: 'coordinator config', files: ['coordinator/config.ts'], mayImport: ['shared', 'hpc policy'] },
  {
    name: 'coordinator main',
    files: [
      'coordinator/main.ts',
      'coordinator/daemon.ts',
      'coordinator/life.ts',
      'coordinator/machine-room.ts',
      'coordinator/retention.ts',
      'coordinator/target-room.ts',
      'coordinator/tls.ts',
    ],
    mayImport: [
      'shared',
      'coordinator config',
      'scheduler',
      'model',
      'engine',
      'store',
      'store port',
      'machine operator',
      'machine ledger',
      'provider port',
      'provider kinds',
      'hpc operator',
      'hpc policy',
      'hpc port',
      'hpc backends',
      'pricing',
      'secrets',
      'gateway',
      'artifacts',
      'artifact port',
      'service',
      'http',
    ],
  },

  // The agent: the same shape, smaller.
  { name: 'agent model', files: ['agent/model/'], mayImport: ['shared'], nature: 'pure' },
  {
    name: 'agent ports',
    files: [
      'agent/driver/driver.ts',
      'agent/staging/staging.ts',
      'agent/store/store.ts',
      'agent/link/dialer.ts',
      'agent/supervise/spool-disk.ts',
    ],
    mayImport: ['shared', 'agent model'],
    nature: 'closed',
  },
  {
    name: 'agent loop',
    files: ['agent/agent.ts', 'agent/supervise/'],
    mayImport: ['shared', 'agent model', 'agent ports'],
    nature: 'closed',
  },
  { name: 'agent drivers', files: ['agent/driver/'], mayImport: ['shared', 'agent model', 'agent ports'] },
  { name: 'agent staging', files: ['agent/staging/'], mayImport: ['shared', 'agent ports'] },
  {
    name: 'agent store',
    files: ['agent/store/'],
    mayImport: ['shared', 'agent model', 'agent ports'],
  },
  { name: 'agent link', files: ['agent/link/'], mayImport: ['shared', 'agent ports'] },
  { name: 'agent discovery', files: ['agent/discovery/'], mayImport: ['shared'] },
  {
    name: 'agent config',
    files: ['agent/config/'],
    mayImport: ['shared', 'agent model', 'agent staging'],
  },
  {
    name: 'agent main',
    files: ['agent/main.ts', 'agent/compose.ts', 'agent/inquiries.ts'],
    mayImport: [
      'shared',
      'agent config',
      'agent loop',
      'agent drivers',
      'agent staging',
      'agent store',
      'agent link',
      'agent discovery',
      'agent ports',
    ],
  },

  // The one program, which loads the part that is asked for.
  {
    name: 'entry',
    files: ['scripts/'],
    mayImport: ['shared', 'coordinator main', 'agent main', 'hpc connector', 'view', 'simulate'],
  },
];

/** Tests see everything. */
const isTest = (path: string): boolean => path.startsWith('test/');

/** Time, chance, timers and the environment come in through a port or through the configuration. */
const FORBIDDEN_GLOBALS: readonly checks.ForbiddenGlobal[] = [
  { code: 'Date.now', instead: 'Clock.now' },
  { code: 'new Date()', instead: 'Clock.now' },
  { code: 'performance.now', instead: 'Clock.monotonic' },
  { code: 'process.hrtime', instead: 'Clock.monotonic' },
  { code: 'setTimeout', instead: 'Clock.after' },
  { code: 'setInterval', instead: 'Clock.after' },
  { code: 'setImmediate', instead: 'Clock.soon' },
  { code: 'Math.random', instead: 'Random.next' },
  { code: 'randomBytes', instead: 'Random.token' },
  { code: 'randomUUID', instead: 'Random.token' },
  { code: 'process.env', instead: 'the configuration' },
];
const MAY_USE_GLOBALS = /^shared\/(clock|random)\.ts$|(^|\/)(config|main)\.ts$/;

/** Ports stay small enough to be written again. */
const PORTS = [
  ['coordinator/store/store.ts', 'EventStore'],
  ['coordinator/store/archive.ts', 'Archive'],
  ['coordinator/scheduler/worth/pricing.ts', 'Pricing'],
  ['coordinator/artifacts/artifact-store.ts', 'ArtifactStore'],
  ['coordinator/hpc/backend.ts', 'HpcBackend'],
  ['coordinator/hpc/backend.ts', 'RemoteFiles'],
  ['coordinator/hpc/shell/remote-shell.ts', 'RemoteShell'],
  ['coordinator/elastic/provider.ts', 'InstanceProvider'],
  ['agent/store/store.ts', 'AgentStore'],
  ['agent/driver/driver.ts', 'TaskDriver'],
  ['agent/staging/staging.ts', 'Staging'],
  ['shared/wire/channel.ts', 'Channel'],
] as const;

const LIMITS = { portMethods: 6, fileLines: 400, functionLines: 70, goodFileLines: 250 } as const;
const VAGUE_WORDS = ['utils', 'util', 'helper', 'helpers', 'manager', 'common', 'data', 'info', 'misc'];

/** tap and npm run the tests in the checkout's root. */
const root = process.cwd();
const sources = readSources(root);
const programs = sources.filter(({ path }) => !isTest(path));

t.test('the source tree is found', async (t) => {
  t.ok(existsSync(join(root, 'tsconfig.json')), 'run the tests in the root of the checkout');
  t.ok(sources.length > 50, `${sources.length} files`);
});

t.test('every import is permitted by the table of layers', async (t) => {
  t.same(lines(programs.flatMap((file) => checks.checkLayers(LAYERS, file))), []);
  t.same(lines(programs.flatMap((file) => checks.checkSynchronous(LAYERS, file))), []);
  const isGenerated = (path: string): boolean => path.startsWith('proto/gen/');
  t.same(lines(checks.checkTargets(sources, isGenerated)), []);
});

t.test('no import closes a cycle', async (t) => {
  t.same(checks.findCycles(sources), []);
});

t.test('clock, chance, timers and environment are used in their own files only', async (t) => {
  const others = programs.filter(({ path }) => !MAY_USE_GLOBALS.test(path));
  t.same(lines(others.flatMap((file) => checks.checkGlobals(FORBIDDEN_GLOBALS, file))), []);
});

t.test('the language is used as the house has it', async (t) => {
  t.same(lines(sources.flatMap(checks.checkLanguage)), []);
  t.same(lines(sources.flatMap(checks.checkMarks)), []);
  t.same(lines(sources.flatMap(({ path }) => checks.checkFileName(VAGUE_WORDS, path))), []);
});

t.test('files and functions keep their size', async (t) => {
  const large = sources.filter(({ lineCount }) => lineCount > LIMITS.fileLines);
  t.same(
    large.map(({ path, lineCount }) => `${path}: ${lineCount} lines`),
    [],
  );
  const long = sources.flatMap(functionSizes).filter(({ lineCount }) => lineCount > LIMITS.functionLines);
  t.same(
    long.map(({ path, line, lineCount }) => `${path}:${line}: a function of ${lineCount} lines`),
    [],
  );
  for (const { path, lineCount } of sources) {
    if (lineCount > LIMITS.goodFileLines) t.comment(`${path} has ${lineCount} lines; ${LIMITS.goodFileLines} is good`);
  }
});

t.test('a port has at most six methods', async (t) => {
  for (const [path, name] of PORTS) {
    const count = methodCount(sourceAt(path), name) ?? 0;
    t.ok(count > 0 && count <= LIMITS.portMethods, `${name} has ${count} methods`);
  }
});

t.test('every error code has its row in the README, as the program has it', async (t) => {
  const readme = readText(root, 'README.md') ?? '';
  for (const [code, row] of Object.entries(CODES)) {
    const cells = [`\`${code}\``, row.httpStatus, row.exitCode, row.retryable ? 'yes' : 'no', row.title];
    t.match(readme, `| ${cells.join(' | ')} |`, `the row of ${code}`);
  }
});

t.test('no file names a package registry or a folder of one machine', async (t) => {
  t.notMatch(readText(root, 'package-lock.json'), /"resolved": "https?:/, 'the lock file names no registry');
  const isStrange = (text: string): boolean => text.includes(`${root}/`) || /\/(home|Users)\/[A-Za-z]+\//.test(text);
  t.same(
    listFiles(root).filter((path) => isStrange(readText(root, path) ?? '')),
    [],
  );
});

function sourceAt(path: string): SourceFile {
  return sources.find((file) => file.path === path) ?? parseSource(path, '');
}

function lines(offences: readonly checks.Offence[]): string[] {
  return offences.map(({ path, line, message }) => `${path}:${line}: ${message}`);
}
