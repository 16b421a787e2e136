import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { LEDGER_LIMITS, MachineLedger } from '../../coordinator/elastic/machine-ledger.js';
import { type LedgerEntry, type LedgerState, machineSpans } from '../../coordinator/model/ledger.js';
import { powerCycles } from '../../coordinator/model/power-cycle.js';
import { instanceIdOf, type NodeId } from '../../shared/ids.js';
import { silentLog } from '../../shared/log.js';
import { Session } from '../kit/client-session.js';
import { startServer, type TestServer, TOKEN } from '../kit/http-server.js';
import { ManualClock } from '../kit/manual-clock.js';
import { until } from '../kit/until.js';

const MACHINE = instanceIdOf(1);
const NODE = 'small-1' as NodeId;

function entry(at: number, state: LedgerState, more: Partial<LedgerEntry> = {}): LedgerEntry {
  return { at, machine: MACHINE, node: NODE, pool: 'small', state, busyMs: 0, servedMs: 0, ...more };
}

t.test('a ledger is read as spans that a window cuts', (t) => {
  const entries = [
    entry(100, 'booting'),
    entry(200, 'idle'),
    entry(300, 'busy'),
    entry(500, 'switching off', { busyMs: 160 }),
    entry(600, 'suspended', { busyMs: 160 }),
  ];
  const short = (from: number, until: number) =>
    machineSpans(entries, { from, until }).map((span) => [span.state, span.from, span.until, span.busyMs]);
  t.strictSame(short(0, 700), [
    ['booting', 100, 200, 0],
    ['idle', 200, 300, 0],
    ['busy', 300, 500, 160],
    ['switching off', 500, 600, 0],
    ['suspended', 600, 700, 0],
  ]);
  t.strictSame(short(250, 400), [
    ['idle', 250, 300, 0],
    ['busy', 300, 400, 80],
  ]);
  t.strictSame(machineSpans([...entries, entry(650, 'gone')], { from: 640, until: 700 }).at(-1)?.until, 650);
  t.end();
});

t.test('a machine is paid for from one power-off to the next, at the prices of each moment', (t) => {
  const prices = { onPerHour: 3_600_000, suspendedPerHour: 360_000 };
  const dearer = { ...prices, onPerHour: 7_200_000 };
  const entries = [
    entry(100, 'booting', { prices }),
    entry(200, 'busy', { prices }),
    entry(300, 'suspended', { prices, servedMs: 50 }),
    entry(400, 'resuming', { prices, servedMs: 50 }),
    entry(500, 'idle', { prices: dearer, servedMs: 70 }),
  ];
  const of = { machine: MACHINE, node: NODE, pool: 'small' };
  const first = { onMs: 200, parkedMs: 0, onCost: 200, parkedCost: 0, servedBeforeMs: 0, servedMs: 50 };
  const second = { onMs: 300, parkedMs: 100, onCost: 500, parkedCost: 10, servedBeforeMs: 50, servedMs: 70 };
  t.strictSame(powerCycles(entries, 700), [
    { ...of, from: 100, until: 300, ...first },
    { ...of, from: 300, until: null, ...second },
  ]);
  t.equal(powerCycles([...entries, entry(650, 'gone', { servedMs: 90 })], 700).at(-1)?.until, 650);
  t.end();
});

async function serverOf(t: Test): Promise<TestServer> {
  const server = await startServer();
  t.teardown(() => server.close());
  return server;
}

/** A pool of four-CPU machines for one an hour, of which one is on. */
async function withPool(server: TestServer): Promise<void> {
  const body = { provider: 'process', node: { cpus: 4, memory: '8GiB' }, max: 1, warm: 1, prices: { onPerHour: 3600 } };
  await server.send('PUT', '/v1/pools/small', { body });
  await until('a machine is ordered', () => server.engine.view.instances.size === 1);
  await server.engine.handle({ type: 'machineCreated', instanceId: MACHINE, ref: 'vm-7' });
  await server.join(NODE);
}

async function berth(server: TestServer, ...argv: string[]): Promise<string> {
  const session = new Session({ url: server.url, token: TOKEN });
  const exitCode = await session.run(...argv);
  return `${exitCode} ${session.stdout}${session.stderr}`;
}

async function read<Document>(server: TestServer, path: string): Promise<Document> {
  return JSON.parse((await server.get(path)).text);
}

const DONE = { kind: 'exited', exitCode: 0, ranMs: 10 } as const;

t.test('a job pays for its share of its node, and for its part of what the machine was on besides', async (t) => {
  const server = await serverOf(t);
  await withPool(server);
  const quarter = await server.submit({ command: ['true'], resources: { cpus: 1, memory: '1GiB' } });
  const half = await server.submit({ command: ['true'], resources: { cpus: 1, memory: '4GiB' } });
  const lost = await server.submit({
    command: ['true'],
    resources: { cpus: 1, memory: '2GiB' },
    retry: { maxAttempts: 1 },
  });
  await server.started('j1.0#1');
  await server.started('j2.0#1');
  await server.started('j3.0#1');
  await until('some time has passed', () => Date.now() - allocationOf(server, 'j2.0#1').committedAt >= 40);
  await server.ended('j1.0#1', DONE);
  await server.ended('j2.0#1', DONE);
  await server.engine.handle({ type: 'agentSilent', nodeId: NODE });
  await server.engine.handle({ type: 'machinesListed', pool: 'small', machines: [], askedAt: Date.now() + 120_000 });
  await until('the machine is given up', () => !server.engine.view.instances.has(MACHINE));
  const ids = [quarter, half, lost];
  const receipts = await Promise.all(ids.map((id) => read<Receipt>(server, `/v1/jobs/${id}/receipt`)));
  const [first, second, third] = receipts.map(({ receipt }) => receipt);
  if (!first || !second || !third) throw new Error('no receipts');
  const held = (id: string): number => {
    const { committedAt, phase } = allocationOf(server, id);
    return (phase.kind === 'ended' ? phase.at : 0) - committedAt;
  };
  t.match(first, { attempts: 1, isFinal: true, nodeMs: held('j1.0#1'), servedMs: held('j1.0#1') / 4 });
  t.match(second, { attempts: 1, isFinal: true, nodeMs: held('j2.0#1'), servedMs: held('j2.0#1') / 2 });
  const report = await read<Report>(server, '/v1/report?since=1h');
  const { onMs, busyMs, cost, unusedCost } = report.pools[0] ?? { onMs: 0, busyMs: 0, cost: 0, unusedCost: 0 };
  t.ok(busyMs > 0 && busyMs < onMs, 'it was idle too');
  const paid = first.cost + second.cost + third.cost + unusedCost;
  t.ok(Math.abs(paid - cost) < 1e-6 * cost, `together they pay all of it: ${paid} of ${cost}`);
  t.ok(Math.abs(first.overheadMs / second.overheadMs - first.servedMs / second.servedMs) < 1e-9, 'in proportion');
  t.match(await berth(server, 'show', 'j1'), /\nCost +\d+\.\d+ \(0s of a node, and 0s of idle and boot time for /);
});

interface Receipt {
  readonly receipt: { readonly cost: number; readonly servedMs: number; readonly overheadMs: number } | null;
}

interface Report {
  readonly pools: readonly {
    readonly onMs: number;
    readonly busyMs: number;
    readonly cost: number;
    readonly unusedCost: number;
  }[];
}

function allocationOf(server: TestServer, id: string) {
  const allocation = [...server.engine.view.allocations.values()].find((each) => each.id === id);
  if (!allocation) throw new Error(`no ${id}`);
  return allocation;
}

t.test('what has no price has no receipt', async (t) => {
  const server = await serverOf(t);
  await server.join('n1');
  await server.submit({ command: ['true'] });
  await server.started('j1.0#1');
  t.strictSame((await server.get('/v1/jobs/j1/receipt')).body, { job: 'j1', receipt: null });
  t.notMatch(await berth(server, 'show', 'j1'), /Cost/);
  t.match((await server.get('/v1/jobs/j9/receipt')).body, { status: 404, detail: 'there is no job j9' });
});

t.test('the report tells how long jobs waited and what machines did', async (t) => {
  const server = await serverOf(t);
  await withPool(server);
  for (const name of ['align', 'align', 'count']) await server.submit({ command: ['true'], name });
  await server.started('j1.0#1');
  await server.ended('j1.0#1', DONE);
  await server.started('j2.0#1');
  const report = await read<object>(server, '/v1/report?since=1h');
  t.match(report, {
    jobsLeftOut: false,
    waits: { all: { count: 2 }, byName: [{ name: 'align', count: 2 }] },
    pools: [{ pool: 'small', powerOnCount: 1, failedPowerOnCount: 0, suspendedMs: 0 }],
    jobs: [
      { id: 'j1', outcome: 'succeeded' },
      { id: 'j2', outcome: null },
      { id: 'j3', startedAt: null },
    ],
  });
  const shown = await berth(server, 'report');
  t.match(shown, /Jobs +3: 1 finished \(0 failed\), 1 running, 1 waiting/);
  t.match(shown, /POOL +NODE-HOURS .*\nsmall +0\.00 /);
  t.match((await berth(server, 'report', '-o', 'json')).slice(2), /^\{\n {2}"from"/);
  const folder = mkdtempSync(join(tmpdir(), 'berth-report-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  await berth(server, 'report', '--since', '1h', '--svg', join(folder, 'hour.svg'));
  const drawing = readFileSync(join(folder, 'hour.svg'), 'utf8');
  for (const word of ['<svg', 'Jobs by state', 'running', 'waiting', 'Nodes by state', 'busy']) t.match(drawing, word);
  t.match(await berth(server, 'report', '--svg', join(folder, 'no', 'where.svg')), /^64 berth: --svg: ENOENT/);
  t.match(await berth(server, 'report', '--since', 'yesterday'), /since: "yesterday" is neither 10m nor/);
  t.match(
    await berth(server, 'report', '--until', '8d'),
    /^64 berth: .*\n +since: the report would end before it begins/,
  );
});

t.test('the ledger outlives its process, whatever of its file is damaged', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-ledger-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const server = await serverOf(t);
  await withPool(server);
  const path = join(folder, 'machines.log');
  const clock = new ManualClock(Date.now() + 1_000);
  const open = () => MachineLedger.open({ path, view: server.engine.view, clock, log: silentLog });
  const first = await open();
  t.match(first.entries(), [{ machine: MACHINE, state: 'idle' }], 'it takes up what there is');
  await first.close();
  appendFileSync(path, '{"at": 17, "mach\n');
  const again = await open();
  t.strictSame(again.entries(), first.entries(), 'and says nothing twice');
  const j1 = await server.submit({ command: ['true'] });
  await clock.advance(LEDGER_LIMITS.edgeMs);
  t.match(again.entries().at(-1), { state: 'busy', busyMs: 0 }, `${j1} keeps it busy`);
  const busyFrom = clock.now();
  await clock.advance(1_000);
  await server.started('j1.0#1');
  await server.ended('j1.0#1', DONE);
  again.note([{ seq: 1, at: clock.now(), version: 1, event: { type: 'instance.joined', instanceId: MACHINE } }]);
  const window = { from: busyFrom, until: clock.now() + 5_000 };
  t.match(
    machineSpans(again.entries(), window).map(({ state, busyMs }) => [state, busyMs]),
    [
      ['busy', 1_000],
      ['idle', 0],
    ],
    'what is not written down yet is told all the same',
  );
  await again.close();
  const lines = readFileSync(path, 'utf8').trim().split('\n');
  t.equal(lines.length, 3);
});
