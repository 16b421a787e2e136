import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { PoolView } from '../../coordinator/service/present-pool.js';
import type { WhenView } from '../../coordinator/service/when.js';
import { instanceIdOf } from '../../shared/ids.js';
import { Session } from '../kit/client-session.js';
import { startServer, type TestServer, TOKEN } from '../kit/http-server.js';
import { until } from '../kit/until.js';

const SMALL = { provider: 'process', node: { cpus: 4, memory: '8GiB' }, max: 3 };
const NODE = 'small-1';
const MACHINE = instanceIdOf(1);

async function serverOf(t: Test): Promise<TestServer> {
  const server = await startServer();
  t.teardown(() => server.close());
  return server;
}

async function put(server: TestServer, name: string, body: object): Promise<PoolView> {
  const answer = await server.send('PUT', `/v1/pools/${name}`, { body });
  if (answer.status !== 200) throw new Error(answer.text);
  return JSON.parse(answer.text);
}

async function show(server: TestServer, name: string): Promise<PoolView> {
  return JSON.parse((await server.get(`/v1/pools/${name}`)).text);
}

/** Machines are thought of a little later. */
function ordered(server: TestServer, count: number): Promise<void> {
  return until('machines are ordered', () => server.engine.view.instances.size >= count);
}

/** What the client prints, and its exit code. */
async function berth(server: TestServer, ...argv: string[]): Promise<string> {
  const session = new Session({ url: server.url, token: TOKEN });
  const exitCode = await session.run(...argv);
  return `${exitCode} ${session.stdout}${session.stderr}`;
}

t.test('a pool is made, changed and told of, with its machines from the wish to the node', async (t) => {
  const server = await serverOf(t);
  t.match(await berth(server, 'pools'), '0 no pools; make some with: berth pools apply FILE\n');
  await put(server, 'small', { ...SMALL, warm: 1, prices: { onPerHour: 0.5 } });
  await ordered(server, 1);
  const made = await show(server, 'small');
  t.match(made, { name: 'small', state: 'enabled', definedBy: 'admin', counts: { starting: 1, on: 0 }, trouble: null });
  t.match(made.machines, [{ id: MACHINE, node: NODE, phase: 'requested', ref: null }]);
  t.match((await server.get('/v1/nodes')).body, { nodes: [], machines: [{ node: NODE, pool: 'small' }] });
  t.match(await berth(server, 'nodes'), /Machines on their way:\nNAME +POOL +STATE .*\nsmall-1 +small +requested /);
  await server.engine.handle({ type: 'machineCreated', instanceId: MACHINE, ref: 'vm-7' });
  await server.join(NODE);
  t.match(await show(server, 'small'), {
    counts: { on: 1, starting: 0 },
    machines: [{ phase: 'joined', ref: 'vm-7' }],
  });
  t.match(await berth(server, 'nodes'), /^0 NAME +POOL +STATE.*\nsmall-1 +small +ready /);
  t.match(await berth(server, 'pools'), /small +process +enabled +1 +0 +0 +3 +1 +0\.5000 +-\n/);
  t.match(await berth(server, 'pools', 'show', 'small', '-o', 'wide'), /i1 +small-1 +joined .* vm-7 /);
  const document = JSON.parse((await berth(server, 'pools', 'show', 'small', '-o', 'json')).slice(2));
  const again = await put(server, 'small', document.spec);
  t.strictSame(again.spec, made.spec, 'what is shown can be applied');
  const free = await put(server, 'small', { ...SMALL, max: 9 });
  t.match(free, { spec: { max: 9 }, counts: { on: 1 } });
  t.ok(free.cost !== null && free.cost > 0, 'what it has cost it has cost');
  t.equal((await show(server, 'small')).cost, free.cost, 'and from now on it costs nothing more');
});

t.test('a pool is scaled, disabled, cordoned and enabled by hand', async (t) => {
  const server = await serverOf(t);
  await put(server, 'small', SMALL);
  t.match(await berth(server, 'pools', 'scale', 'small', '2'), '0 small has at least 2 on\n');
  await ordered(server, 1);
  await server.engine.handle({ type: 'machineCreated', instanceId: MACHINE, ref: 'vm-7' });
  await ordered(server, 2);
  t.match(await show(server, 'small'), { requested: 2, counts: { starting: 2 } });
  const tooMany = /^64 berth: pool small has at most 3 machines, not 4\n {2}hint: raise its max/;
  t.match(await berth(server, 'pools', 'scale', 'small', '4'), tooMany);
  t.match(await berth(server, 'pools', 'scale', 'small', 'two'), '64 berth: <count>: "two" is not a whole number');
  t.match(await berth(server, 'pools', 'scale', 'small', 'auto'), '0 small has as many on as it needs\n');
  t.equal((await show(server, 'small')).requested, null);
  t.match(await berth(server, 'pools', 'disable', 'small'), /^64 berth: --reason is required/);
  t.match(await berth(server, 'pools', 'disable', 'small', '--reason', 'no money'), '0 small disabled\n');
  t.match(await berth(server, 'pools'), /small +process +disabled .* no money\n/);
  t.match(await berth(server, 'pools', 'cordon', 'small', '--reason', 'new image'), '0 small cordoned\n');
  t.match(await show(server, 'small'), { state: 'cordoned', reason: 'new image', since: String });
  t.match(await berth(server, 'pools', 'enable', 'small'), '0 small enabled\n');
  t.match(
    await berth(server, 'pools', 'enable', 'smal'),
    /^64 berth: there is no pool "smal"\n {2}hint: did you mean small/,
  );
  t.match(await berth(server, 'pools', 'rm', 'small'), '0 small is removed when its machines are gone\n');
  t.match(await show(server, 'small'), { state: 'retiring', reason: 'removed by admin' });
  await put(server, 'large', { ...SMALL, node: { cpus: 16, memory: '64GiB' } });
  await put(server, 'huge', { ...SMALL, fallback: ['large'] });
  t.match(await berth(server, 'pools', 'rm', 'large'), /^64 berth: pool huge falls back to pool large\n/);
  t.match(await berth(server, 'pools', 'rm', 'huge'), '0 huge removed\n');
  t.match(await berth(server, 'pools', 'rm', 'large'), '0 large removed\n');
});

t.test('settings that cannot be are refused with every problem, and change nothing', async (t) => {
  const server = await serverOf(t);
  await put(server, 'small', SMALL);
  await put(server, 'large', { ...SMALL, fallback: ['small'] });
  const wrong = [
    [{ ...SMALL, min: 4 }, 'min', '4 is more than max: 3'],
    [{ ...SMALL, warm: 4 }, 'warm', '4 is more than max: 3'],
    [{ ...SMALL, quota: 0 }, 'quota', '0 lets no machine be made'],
    [{ ...SMALL, fallback: ['lrge'] }, 'fallback[0]', 'did you mean "large"'],
    [{ ...SMALL, fallback: ['large'] }, 'fallback[0]', '"large" falls back to "small" itself'],
    [{ ...SMALL, name: 'other' }, 'name', 'is "other", but the request is about "small"'],
    [{ ...SMALL, maxx: 4 }, 'maxx', 'did you mean "max"'],
  ] as const;
  for (const [body, field, message] of wrong) {
    const answer = await server.send('PUT', '/v1/pools/small', { body });
    t.match(
      answer.body,
      { status: 422, code: 'invalid-spec', problems: [{ field, message }] },
      `${field}: ${answer.text}`,
    );
  }
  const several = await server.send('PUT', '/v1/pools/small', { body: { max: 0, node: { cpus: 1 }, provider: 7 } });
  t.match(several.body.problems?.map(({ field }) => field).sort(), ['max', 'node.memory', 'provider']);
  const unknown = await server.send('PUT', '/v1/pools/small', { body: { ...SMALL, provider: 'dcoker' } });
  t.match(unknown.body, { status: 422, detail: 'there is no provider "dcoker"' });
  const shelf = { kind: 'command', create: ['/make'], terminate: ['/end'], list: ['/list'] };
  const providers = [
    [{ kind: 'ec2', image: 'ami-7', instanceTyp: 'm5.large' }, 'region', /^it is missing; write a region such as/],
    [{ kind: 'ec2', image: 'ami-7', instanceTyp: 'm5.large' }, 'instanceTyp', /did you mean "instanceType"/],
    [{ kind: 'process', bootDelay: 'soon' }, 'bootDelay', /^"soon" is not a duration; write/],
    [{ ...shelf, resume: ['/on'] }, 'suspend', /^it is missing; suspend and resume come together/],
  ] as const;
  for (const [provider, field, message] of providers) {
    const answer = await server.send('PUT', '/v1/pools/small', { body: { ...SMALL, provider } });
    t.match(answer.body, { status: 422, code: 'invalid-spec' });
    const problem = answer.body.problems?.find((each) => each.field === `provider.${field}`);
    t.match(problem?.message, message, `${field}: ${answer.text}`);
  }
  const parked = { ...SMALL, onIdle: 'suspend', provider: shelf };
  const stays = await server.send('PUT', '/v1/pools/small', { body: parked });
  t.match(stays.body.problems, [{ field: 'onIdle', message: 'provider command cannot suspend machines' }]);
  t.match((await show(server, 'small')).spec, { max: 3, min: 0 });
  await server.engine.handle({
    type: 'definePools',
    specs: [...server.engine.view.pools.values()].map(({ spec }) => ({ ...spec, max: 2 })),
    by: 'configuration',
  });
  for (const method of ['PUT', 'DELETE']) {
    const answer = await server.send(method, '/v1/pools/small', method === 'PUT' ? { body: SMALL } : {});
    t.match(answer.body, { status: 409, detail: /--pools file/, hint: /change it there/ });
  }
});

t.test('a file of pools is applied in the order that fallbacks need, and its errors have their line', async (t) => {
  const server = await serverOf(t);
  const folder = mkdtempSync(join(tmpdir(), 'berth-pools-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = (text: string): string => {
    writeFileSync(join(folder, 'pools.yaml'), text);
    return join(folder, 'pools.yaml');
  };
  const pool = (name: string, more = ''): string =>
    `- name: ${name}\n  provider: process\n  node: {cpus: 4, memory: 8GiB}\n  max: 2\n${more}`;
  const both = file(pool('first', '  fallback: [second]\n') + pool('second'));
  t.match(await berth(server, 'pools', 'apply', both), '0 second applied\nfirst applied\n');
  const third = file(pool('third', '  fallback: [first]\n'));
  t.match(await berth(server, 'pools', 'apply', third), '0 third applied\n', 'also to pools outside the file');
  const wrong = file(pool('fourth', '  min: 3\n'));
  const answer = await berth(server, 'pools', 'apply', wrong);
  t.match(answer, /^64 berth: the specification is invalid\n/);
  t.match(answer, /line 5:3 \[0\]\.min: 3 is more than max: 2/);
  t.match(
    await berth(server, 'pools', 'apply', join(folder, 'none.yaml')),
    /^64 berth: the file of pools cannot be read/,
  );
});

t.test('what a provider says is told with its pool, and concerns no other', async (t) => {
  const server = await serverOf(t);
  await put(server, 'small', SMALL);
  await put(server, 'cloud', { ...SMALL, warm: 1 });
  await ordered(server, 1);
  server.troubles.set('cloud', 'credentials: the key is not known in region eu-nowhere-1');
  t.match(await berth(server, 'pools'), /cloud .* credentials: the key is not known in region eu-nowhere-1\n/);
  t.match((await server.get('/v1/pools')).body.pools, [{ trouble: null }, { trouble: /eu-nowhere-1/ }]);
  const refused = { order: 'create', fault: 'quota', message: 'at most 20 CPUs' } as const;
  await server.engine.handle({ type: 'machineRefused', instanceId: MACHINE, ...refused });
  const pool = await show(server, 'cloud');
  t.match(pool, {
    cooling: { fault: 'quota', message: 'at most 20 CPUs', failureCount: 1 },
    totals: { failedPowerOnCount: 1 },
  });
  t.match(await berth(server, 'pools'), /cloud .* quota until \d{4}-.*: at most 20 CPUs\n/);
  await server.join('n1');
  await server.submit({ command: ['true'] });
  t.match((await server.get('/v1/jobs/j1')).body, { counts: { placed: 1 } });
});

t.test('a task that waits for a machine says so, and until when', async (t) => {
  const server = await serverOf(t);
  await put(server, 'small', { ...SMALL, max: 1, times: { boot: '9m30s' } });
  await server.submit({ command: ['true'], resources: { cpus: 3 }, array: '1-2' });
  await ordered(server, 1);
  const coming = /waits for small-1, booting for \d+s, usually 9m30s/;
  t.match((await server.get('/v1/jobs/j1')).body, { waitingReason: coming });
  t.match(await berth(server, 'why', 'j1'), coming);
  t.match((await server.get('/v1/jobs/j1/why')).body.waiting, [
    { count: 2, reason: { code: 'machine', details: { node: 'small-1', pool: 'small', phase: 'requested' } } },
  ]);
  const bootingAt = Date.parse((await show(server, 'small')).machines?.[0]?.requestedAt ?? '');
  const startAt = new Date(bootingAt + 570_000).toISOString();
  t.match(JSON.parse((await server.get('/v1/jobs/j1/when')).text).steps, [{ ground: 'machine', node: NODE, startAt }]);
  t.match(await berth(server, 'plan', '--', 'true'), coming);
  await server.engine.handle({ type: 'machineCreated', instanceId: MACHINE, ref: 'vm-7' });
  await server.join(NODE);
  const full = /waits for 3 CPUs \(1 free\) on small-1; pool small is at its max of 1/;
  t.match((await server.get('/v1/jobs/j1')).body, { counts: { placed: 1 }, waitingReason: full });
});

t.test('a gang that needs more machines at once than its pool may have gets none, and says so', async (t) => {
  const server = await serverOf(t);
  await put(server, 'small', SMALL);
  // A gang too: of others more may be expected, and a machine ordered for them.
  const gang = { command: ['true'], resources: { cpus: 4 }, gang: true };
  await server.submit({ ...gang, array: '1-2' });
  await ordered(server, 2);
  for (const number of [1, 2]) {
    await server.engine.handle({ type: 'machineCreated', instanceId: instanceIdOf(number), ref: `vm-${number}` });
    await server.join(`small-${number}`);
  }
  await server.submit({ ...gang, array: '1-3' });
  await server.submit({ command: ['true'], allowFutureNodes: true, constraints: ['label:pool=other'] });
  t.match((await server.get('/v1/jobs/j2')).body, {
    waitingReason: /its 3 ranks need 3 more machines of pool small at once, which can have 1$/,
  });
  t.equal(server.engine.view.instances.size, 2);
  await put(server, 'small', { ...SMALL, max: 5 });
  await ordered(server, 5);
});

t.test('who waits behind others for machines is told when, by what the pool has learnt', async (t) => {
  const server = await serverOf(t);
  await put(server, 'small', { ...SMALL, max: 2, times: { boot: '40s' } });
  const whole = { command: ['true'], resources: { cpus: 4 } };
  await server.submit(whole);
  await server.submit({ ...whole, timeLimit: '10m' });
  await ordered(server, 1);
  await server.engine.handle({ type: 'machineCreated', instanceId: MACHINE, ref: 'vm-7' });
  await ordered(server, 2);
  const answer = await server.get('/v1/jobs/j2/when');
  const [step] = (JSON.parse(answer.text) as WhenView).steps;
  t.match(step, {
    ...{ ground: 'machine', tasksBefore: 1, node: null },
    message: /^behind 1 task, as soon as machines are there/,
  });
  const inMs = Date.parse(step?.startAt ?? '') - Date.now();
  t.ok(inMs > 0 && inMs <= 60_000, `a second machine takes as long as the first, not ${inMs} ms`);
});

t.test('a task for which no machine comes says why', async (t) => {
  const server = await serverOf(t);
  await put(server, 'small', SMALL);
  await server.post('/v1/pools/small/disable', { reason: 'no money' });
  await server.submit({ command: ['true'] });
  const reason = async (): Promise<string | null> => JSON.parse((await server.get('/v1/jobs/j1')).text).waitingReason;
  t.equal(await reason(), 'needs a machine, and none comes: pool small is disabled (no money)');
  await server.post('/v1/pools/small/enable');
  server.troubles.set('small', 'credentials: the key is unknown');
  await ordered(server, 1);
  const refused = { order: 'create', fault: 'quota', message: 'at most 20 CPUs' } as const;
  await server.engine.handle({ type: 'machineRefused', instanceId: MACHINE, ...refused });
  t.match(
    await reason(),
    /none comes: pool small orders nothing until \d\d:\d\d:\d\d UTC after quota: at most 20 CPUs$/,
  );
  await put(server, 'small', { ...SMALL, idle: '7m' });
  t.match(await reason(), /small/, 'a changed pool tries again');
  await server.submit({ command: ['true'], resources: { cpus: 9 }, allowFutureNodes: true });
  t.match((await server.get('/v1/jobs/j2')).body, { waitingReason: /no node has joined yet/ });
});
