import t from 'tap';
import { isRefusal, type Refusal } from '../../shared/errors.js';
import type { PoolSpec } from '../../shared/pool.js';
import { formatPool } from '../../shared/pool-spec/format.js';
import { parsePool, parsePools } from '../../shared/pool-spec/parse.js';
import { parsePoolsText } from '../../shared/pool-spec/text.js';

const LEAST = { name: 'small', provider: 'process', node: { cpus: 6, memory: '56GiB', gpus: 1 }, max: 3 };

function problems(read: unknown): string[] {
  return isRefusal(read) ? (read.problems ?? []).map(({ field, message }) => `${field}: ${message}`) : [];
}

function read(input: unknown): readonly PoolSpec[] {
  const pools = parsePools(input);
  if (isRefusal(pools)) throw new Error(pools.detail);
  return pools;
}

t.test('a pool says little and is read with every default', (t) => {
  t.strictSame(read([LEAST]), [
    {
      name: 'small',
      provider: { kind: 'process', settings: {} },
      node: {
        capacity: { cpuMillis: 6_000, memoryMiB: 57_344, diskMiB: 0 },
        gpus: [{ index: 0, uuid: 'expected-0', model: '', memoryMiB: 0 }],
        labels: { pool: 'small' },
        attributes: {},
        drivers: ['process'],
      },
      min: 0,
      max: 3,
      warm: { kind: 'nodes', count: 0 },
      idleMs: 300_000,
      onIdle: 'terminate',
      predeploy: 0,
      exclusive: false,
      fallback: [],
      prices: { onPerHour: 0, suspendedPerHour: 0 },
      quota: null,
      times: { bootMs: 180_000, resumeMs: 60_000, offMs: 60_000 },
    },
  ]);
  t.end();
});

t.test('what is formatted is read back the same', (t) => {
  const [full] = read([
    {
      ...LEAST,
      provider: { kind: 'ec2', region: 'eu-west-1', tags: { team: 'imaging' } },
      node: {
        ...LEAST.node,
        disk: '100GiB',
        gpus: { count: 2, model: 'a100', memory: '40GiB' },
        labels: { zone: 'a' },
      },
      min: 1,
      warm: { slots: 3, of: { cpus: 2, memory: '15GiB', gpus: 1 } },
      idle: '60s',
      onIdle: 'suspend',
      predeploy: 2,
      exclusive: false,
      prices: { onPerHour: 0.4, suspendedPerHour: 0.02 },
      quota: 3,
      times: { boot: '570s', resume: '150s', off: '60s' },
    },
  ]);
  const written: unknown = JSON.parse(JSON.stringify(full && formatPool(full)));
  t.strictSame(read([written]), [full]);
  t.strictSame(parsePool(written, { name: 'small', others: [] }), full);
  t.end();
});

t.test('contradictory settings are refused, each with the remedy', (t) => {
  const table: [Record<string, unknown>, string][] = [
    [{ min: 4 }, '[0].min: 4 is more than max: 3; raise max, or lower min'],
    [{ warm: 4 }, '[0].warm: 4 is more than max: 3; lower warm'],
    [{ warm: 3, quota: 2 }, '[0].warm: 3 is more than quota: 2; lower warm'],
    [{ min: 3, quota: 2 }, '[0].min: 3 is more than quota: 2; the provider grants no more'],
    [{ quota: 0 }, '[0].quota: 0 lets no machine be made; ask for a quota, or remove the pool'],
    [
      { predeploy: 1 },
      '[0].predeploy: parks machines suspended, but they are terminated when idle; write onIdle: suspend',
    ],
    [
      { warm: { slots: 10, of: { cpus: 2, memory: '15GiB' } } },
      '[0].warm: 10 slots are more than max: 3 with 3 a node; lower warm',
    ],
    [
      { warm: { slots: 1, of: { cpus: 8 } } },
      '[0].warm: asks for room that no node of the pool has; make "of" smaller than "node"',
    ],
    [{ fallback: ['small'] }, '[0].fallback[0]: is the pool itself; name other pools, or remove it'],
    [{ fallback: ['smal'] }, '[0].fallback[0]: there is no pool "smal"'],
    [{ iddle: '60s' }, '[0].iddle: there is no such field; did you mean "idle"?'],
    [{ onIdle: 'stop' }, '[0].onIdle: "stop" is not one of suspend, terminate'],
    [{ idle: 60 }, '[0].idle: 60 has no unit; write 60s or 60m'],
    [{ provider: { region: 'eu' } }, '[0].provider.kind: is missing; say which provider it is'],
    [{ node: { cpus: 6 } }, '[0].node.memory: is missing; say what one node of the pool has'],
    [
      { node: { ...LEAST.node, labels: { pool: 'other' } } },
      '[0].node.labels.pool: is "small" for every node of this pool; remove it',
    ],
    [{ prices: { onPerHour: -1 } }, '[0].prices.onPerHour: -1 is not a price; it is a number from 0 to 1000000'],
  ];
  for (const [change, message] of table) t.strictSame(problems(parsePools([{ ...LEAST, ...change }])), [message]);
  t.end();
});

t.test('all problems of all pools are reported together, with their lines', (t) => {
  const text =
    'pools:\n  - name: a\n    max: 0\n  - {name: a, provider: docker, node: {cpus: 1, memory: 1GiB}, max: 2}\n';
  const refusal = parsePoolsText(text) as Refusal;
  t.strictSame(
    (refusal.problems ?? []).map(({ line, field }) => `${line} ${field}`),
    ['2 pools[0].node', '2 pools[0].provider', '3 pools[0].max', '4 pools[1].name'],
  );
  t.end();
});

t.test('pools may fall back to each other, but not in a circle', (t) => {
  const pool = (name: string, ...fallback: string[]): unknown => ({ ...LEAST, name, fallback });
  t.strictSame(problems(parsePools([pool('a', 'b', 'c'), pool('b', 'c'), pool('c')])), []);
  t.strictSame(problems(parsePools([pool('a', 'b'), pool('b', 'c'), pool('c', 'a')])), [
    '[0].fallback[0]: "b" falls back to "a" itself; remove one of the two',
    '[1].fallback[0]: "c" falls back to "b" itself; remove one of the two',
    '[2].fallback[0]: "a" falls back to "c" itself; remove one of the two',
  ]);
  t.strictSame(problems(parsePool(pool('x', 'a'), { name: 'y', others: read([pool('a')]) })), [
    'name: is "x", but the request is about "y"',
  ]);
  t.end();
});
