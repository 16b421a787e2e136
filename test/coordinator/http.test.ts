import { connect } from 'node:net';
import t, { type Test } from 'tap';
import { CODES, type ErrorCode, refuse } from '../../shared/errors.js';
import { type Answer, startServer, type TestServer, TOKEN } from '../kit/http-server.js';

const YAML = { headers: { 'content-type': 'application/yaml' } };

/** A server of the test's own, closed after it. */
async function serverOf(t: Test, options = {}): Promise<TestServer> {
  const server = await startServer(options);
  t.teardown(() => server.close());
  return server;
}

function isProblem(t: Test, answer: Answer, status: number, code: ErrorCode): void {
  t.equal(answer.status, status, `${code}: ${answer.text}`);
  t.match(answer.headers.get('content-type'), /^application\/problem\+json/);
  const { type, title } = answer.body;
  t.match(answer.body, {
    status,
    code,
    type: `urn:berth:error:${code}`,
    title: CODES[code].title,
    requestId: /^[0-9a-f]{16}$/,
  });
  t.ok(type && title && answer.body.detail);
}

t.test('everything but health and the description wants the token', async (t) => {
  const server = await serverOf(t);
  for (const path of ['/v1/jobs', '/v1/whoami', '/v1/events', '/nowhere']) {
    for (const token of [null, 'wrong', `${TOKEN}x`]) {
      const answer = await server.get(path, { token });
      isProblem(t, answer, 401, 'unauthenticated');
      t.equal(answer.headers.get('www-authenticate'), 'Bearer');
    }
  }
  const asBasic = await server.get('/v1/whoami', { token: null, headers: { authorization: `Basic ${TOKEN}` } });
  t.equal(asBasic.status, 401);
  for (const path of ['/healthz', '/openapi.json', '/v1/openapi.json']) {
    t.equal((await server.get(path, { token: null })).status, 200, path);
  }
  t.strictSame((await server.get('/v1/whoami')).body, { name: 'admin' });
  t.strictSame((await server.get('/healthz')).body, { status: 'ok', version: '0.1.0-test', lastSeq: 0 });
});

t.test('every code is answered with its status, and with Retry-After when trying again can help', async (t) => {
  const server = await serverOf(t);
  for (const code of Object.keys(CODES) as ErrorCode[]) {
    server.outage = refuse(code, 'as told', {
      hint: 'wait',
      problems: [{ field: 'a', message: 'b', line: 3, column: 4 }],
    });
    const answer = await server.get('/v1/jobs');
    isProblem(t, answer, CODES[code].httpStatus, code);
    t.match(answer.body, {
      detail: 'as told',
      hint: 'wait',
      problems: [{ field: 'a', message: 'b', line: 3, column: 4 }],
    });
    t.equal(answer.headers.has('retry-after'), CODES[code].retryable, code);
  }
  server.outage = refuse('store-unavailable', 'the disk is full');
  isProblem(t, await server.get('/healthz', { token: null }), 503, 'store-unavailable');
});

t.test('what no route takes is a problem too', async (t) => {
  const server = await serverOf(t);
  isProblem(t, await server.get('/v1/job'), 404, 'not-found');
  const put = await server.send('PUT', '/v1/jobs?x=1', { body: {} });
  isProblem(t, put, 405, 'invalid-request');
  t.match(put.body.hint, 'GET, POST');
  const form = { headers: { 'content-type': 'application/x-www-form-urlencoded' } };
  isProblem(t, await server.post('/v1/jobs', 'command=true', form), 415, 'invalid-request');
  isProblem(t, await server.post('/v1/nodes/n1/cordon', 'reason: x', YAML), 415, 'invalid-request');
  const json = { headers: { 'content-type': 'application/json' } };
  const broken = await server.post('/v1/jobs', '{"command": [', json);
  isProblem(t, broken, 400, 'invalid-request');
  t.match(broken.body.detail, 'not JSON');
  isProblem(t, await server.post('/v1/jobs', '{"__proto__": {"name": "x"}}', json), 400, 'invalid-request');
  isProblem(t, await server.post('/v1/jobs', { script: 'x'.repeat(1_100_000) }), 413, 'payload-too-large');
  const spoken = await sayTo(server, 'EHLO berth\r\n\r\n');
  t.match(spoken, /^HTTP\/1\.1 400 Bad Request\r\n/);
  t.match(JSON.parse(spoken.split('\r\n\r\n')[1] ?? ''), { code: 'invalid-request', status: 400 });
});

function sayTo(server: TestServer, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1', () => socket.write(text));
    let heard = '';
    socket.on('data', (bytes) => (heard += String(bytes)));
    socket.on('close', () => resolve(heard));
    socket.on('error', reject);
  });
}

t.test('unknown keys of queries and bodies are refused by name, with the nearest known one', async (t) => {
  const server = await serverOf(t);
  const list = await server.get('/v1/jobs?limt=3&state=activ&limit=0');
  isProblem(t, list, 400, 'invalid-request');
  const messages = Object.fromEntries((list.body.problems ?? []).map(({ field, message }) => [field, message]));
  t.match(messages, { limt: 'did you mean "limit"?', state: 'did you mean "active"?', limit: '>= 1' });
  const cancel = await server.post('/v1/jobs/j1/cancel', { reasn: 'x' });
  t.match(cancel.body, { status: 400, problems: [{ field: 'reasn', message: 'did you mean "reason"?' }] });
  t.match((await server.post('/v1/nodes/n1/drain', {})).body, {
    status: 400,
    problems: [{ message: '"reason" is missing' }],
  });
  t.match((await server.post('/v1/nodes/n1/drain', { reason: 7 })).status, 400, 'documents mean what they say');
  const spec = await server.post('/v1/jobs', { command: ['true'], nmae: 'x' });
  isProblem(t, spec, 422, 'invalid-spec');
  t.match(spec.body.problems, [{ field: 'nmae', message: 'did you mean "name"?' }]);
  const rehearsal = await server.post('/v1/jobs?dryRun=true', { command: ['true'] });
  isProblem(t, rehearsal, 422, 'unsupported-field');
  isProblem(t, await server.post('/v1/jobs', { command: ['true'], pool: 'gpu' }), 422, 'unsupported-field');
  t.equal(server.engine.view.jobs.size, 0);
});

t.test('a YAML body is read as a file: what is wrong has its line and column', async (t) => {
  const server = await serverOf(t);
  const malformed = await server.post('/v1/jobs', 'name: x\ncommand: [true\nenv: y', YAML);
  isProblem(t, malformed, 422, 'invalid-spec');
  t.match(malformed.body.problems, [{ line: 3, column: Number }]);
  const wrong = await server.post('/v1/jobs', 'command: ["true"]\nresources:\n  memory: much\n', YAML);
  t.match(wrong.body.problems, [{ field: 'resources.memory', line: 3, column: Number }]);
  const accepted = await server.post('/v1/jobs', 'name: align\ncommand: ["true"]\n', {
    headers: { 'content-type': 'text/yaml; charset=utf-8' },
  });
  t.match(accepted, { status: 201, body: { job: { id: 'j1', name: 'align' } } });
});

t.test('the published specification is accepted again and means the same job', async (t) => {
  const server = await serverOf(t);
  await server.submit({
    name: 'a',
    steps: [
      { name: 'prepare', command: ['true'], retry: { maxAttempts: 2 } },
      {
        name: 'train',
        needs: 'prepare',
        array: '1-9:2',
        command: ['x', 'a b'],
        env: { A: 1 },
        retry: { on: ['lost', 'exited'] },
      },
    ],
  });
  const published = (await server.get('/v1/jobs/j1/spec')).body;
  await server.submit(published);
  t.strictSame((await server.get('/v1/jobs/j2/spec')).body, published);
  t.strictSame(server.engine.view.jobs.get('j2' as never)?.spec, server.engine.view.jobs.get('j1' as never)?.spec);
});

t.test('the same Idempotency-Key gives the same job, and another request under it is refused', async (t) => {
  const server = await serverOf(t);
  const key = { headers: { 'idempotency-key': 'once' } };
  const first = await server.post('/v1/jobs', { command: ['true'], env: { A: '1', B: '2' } }, key);
  t.match(first, { status: 201, body: { job: { id: 'j1' } } });
  const again = await server.post('/v1/jobs', { env: { B: 2, A: 1 }, command: ['true'] }, key);
  t.match(again, { status: 200, body: { job: { id: 'j1' } } }, 'however it is written');
  await server.post('/v1/jobs/j1/cancel');
  t.match(await server.post('/v1/jobs', { command: ['true'], env: { A: '1', B: '2' } }, key), {
    status: 200,
    body: { job: { id: 'j1', state: 'finished' } },
  });
  isProblem(t, await server.post('/v1/jobs', { command: ['false'] }, key), 409, 'key-reused');
  const long = { headers: { 'idempotency-key': 'x'.repeat(257) } };
  isProblem(t, await server.post('/v1/jobs', { command: ['true'] }, long), 400, 'invalid-request');
});

t.test('jobs are listed newest first, page by page, and no page changes when more are submitted', async (t) => {
  const server = await serverOf(t);
  for (let number = 1; number <= 5; number += 1) {
    await server.submit({
      name: number % 2 ? 'odd' : 'even',
      labels: { user: 'ada' },
      namespace: 'lab',
      command: ['true'],
    });
  }
  const ids = (answer: Answer): string[] => answer.body.jobs.map((job) => job.id);
  const first = await server.get('/v1/jobs?limit=2');
  t.strictSame(ids(first), ['j5', 'j4']);
  await server.submit({ name: 'late', command: ['true'] });
  const second = await server.get(`/v1/jobs?limit=2&cursor=${first.body.nextCursor}`);
  t.strictSame(ids(second), ['j3', 'j2']);
  const third = await server.get(`/v1/jobs?limit=2&cursor=${second.body.nextCursor}`);
  t.strictSame([ids(third), third.body.nextCursor], [['j1'], null]);
  await server.post('/v1/jobs/j3/cancel');
  await server.post('/v1/jobs/j2/hold');
  t.strictSame(ids(await server.get('/v1/jobs?state=unfinished')), ['j6', 'j5', 'j4', 'j2', 'j1']);
  t.strictSame(ids(await server.get('/v1/jobs?state=held')), ['j2']);
  t.strictSame(ids(await server.get('/v1/jobs?name=odd&namespace=lab&label=user%3Dada&state=active')), ['j5', 'j1']);
  t.strictSame(ids(await server.get('/v1/jobs?label=user%3Dada&label=user%3Dbob')), []);
  for (const query of ['cursor=x', 'cursor=MS4y', 'label=user', 'limit=1001']) {
    isProblem(t, await server.get(`/v1/jobs?${query}`), 400, 'invalid-request');
  }
});

t.test('a page of a million tasks costs a page, and finds the few that match', async (t) => {
  const server = await serverOf(t);
  await server.join('n1');
  await server.submit({ array: '1-1000000', command: ['true'], retry: { maxAttempts: 1 } });
  await server.ended('j1.2#1', { kind: 'exited', exitCode: 3, ranMs: 5 });
  const indexes = (answer: Answer): number[] => answer.body.tasks.map((task) => task.index);
  const first = await server.get('/v1/jobs/j1/tasks?limit=3');
  t.match(first.body.tasks, [
    { id: 'j1.1', state: 'placed', node: 'n1' },
    { id: 'j1.2', state: 'done', exitCode: 3, reason: 'exited with code 3' },
    { id: 'j1.3' },
  ]);
  t.strictSame(indexes(await server.get(`/v1/jobs/j1/tasks?limit=2&cursor=${first.body.nextCursor}`)), [4, 5]);
  t.strictSame(indexes(await server.get('/v1/jobs/j1/tasks?state=failed')), [2]);
  t.strictSame(indexes(await server.get('/v1/jobs/j1/tasks?state=placed')), [1, 3, 4, 5]);
  const queued = await server.get('/v1/jobs/j1/tasks?state=queued&limit=1');
  t.match(queued.body.tasks, [{ index: 6, state: 'queued', attempt: 1, node: null, reason: /CPU .* on n1/ }]);
  const cursor = Buffer.from('0.999999').toString('base64url');
  const last = await server.get(`/v1/jobs/j1/tasks?cursor=${cursor}`);
  t.strictSame([indexes(last), last.body.nextCursor], [[999_999, 1_000_000], null]);
  const started = process.cpuUsage();
  for (let count = 0; count < 20; count += 1) await server.get(`/v1/jobs/j1/tasks?limit=10&cursor=${cursor}`);
  t.ok(process.cpuUsage(started).user < 1_000_000, 'twenty pages at the far end take less than a second');
});

t.test('a task shows its attempts, and why it waits for the next', async (t) => {
  const server = await serverOf(t);
  await server.join('n1');
  await server.submit({
    steps: [
      { name: 'train', command: ['true'], retry: { maxAttempts: 2, on: ['exited'], backoff: '1h' } },
      { name: 'test', needs: 'train', command: ['true'] },
    ],
  });
  await server.started('j1.train.0#1');
  await server.ended('j1.train.0#1', { kind: 'exited', exitCode: 9, ranMs: 40 }, 12, { cpuMs: 31, stagedInMs: 8 });
  const task = (await server.get('/v1/jobs/j1/tasks/train.0')).body;
  t.match(task, {
    id: 'j1.train.0',
    state: 'queued',
    attempt: 2,
    outcome: null,
    node: null,
    notBefore: String,
    reason: 'attempt 2',
  });
  t.match(task.attempts, [
    {
      attempt: 1,
      allocationId: 'j1.train.0#1',
      node: 'n1',
      state: 'ended',
      end: { kind: 'exited', exitCode: 9 },
      ranMs: 40,
      startedAt: String,
      output: { stdoutBytes: 12 },
      queuedMs: Number,
    },
  ]);
  t.strictSame(task.attempts?.[0]?.usage, { cpuMs: 31, stagedInMs: 8 }, 'what is not known is absent');
  const why = (await server.get('/v1/jobs/j1/why')).body;
  t.match(why, {
    job: 'j1',
    phase: 'active',
    waiting: [
      { step: 'train', tasks: '0', count: 1, reason: { code: 'backoff' } },
      { step: 'test', reason: { code: 'needs', message: 'train' } },
    ],
  });
  isProblem(t, await server.get('/v1/jobs/j1/tasks/0'), 404, 'not-found');
  isProblem(t, await server.get('/v1/jobs/j1/tasks/train.1'), 404, 'not-found');
  isProblem(t, await server.get('/v1/jobs/42/tasks/0'), 404, 'not-found');
});

t.test('a question may wait for the end of a job', async (t) => {
  const server = await serverOf(t);
  await server.join('n1');
  await server.submit({ command: ['true'] });
  const early = await server.get('/v1/jobs/j1?waitFor=finished&timeout=20ms');
  t.match(early, { status: 200, body: { state: 'active' } });
  const waiting = server.get('/v1/jobs/j1?waitFor=finished&timeout=55s');
  await waitUntil(() => server.service.watch.listenerCount === 1);
  await server.ended('j1.0#1', { kind: 'signaled', signal: 'SIGSEGV', ranMs: 1 });
  const after = await waiting;
  t.match(after.body, { state: 'finished', outcome: 'failed', exitCode: 139, startedAt: String, finishedAt: String });
  t.match(
    (await server.get('/v1/jobs/j1?waitFor=finished')).body,
    { state: 'finished' },
    'at once when it is finished',
  );
  t.equal(server.service.watch.listenerCount, 0);
  isProblem(t, await server.get('/v1/jobs/j9?waitFor=finished'), 404, 'not-found');
  for (const query of [
    'waitFor=started',
    'waitFor=finished&timeout=61s',
    'waitFor=finished&timeout=30',
    'timeout=30s',
  ]) {
    isProblem(t, await server.get(`/v1/jobs/j1?${query}`), 400, 'invalid-request');
  }
});

async function waitUntil(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setImmediate(resolve));
}

t.test('a job is held, released and canceled; after its end it is not', async (t) => {
  const server = await serverOf(t);
  await server.join('n1');
  await server.submit({ command: ['true'], hold: true });
  t.match((await server.get('/v1/jobs/j1')).body, { state: 'held', waitingReason: /held/ });
  t.match(await server.post('/v1/jobs/j1/release', {}), {
    status: 200,
    body: { state: 'active', counts: { placed: 1 }, waitingReason: null },
  });
  t.match(await server.post('/v1/jobs/j1/hold'), { status: 200, body: { state: 'held' } });
  t.match((await server.post('/v1/jobs/j1/cancel', { reason: 'a mistake' })).body, {
    state: 'canceling',
    reason: 'a mistake',
  });
  t.match((await server.get('/v1/jobs/j1/tasks/0')).body, { attempts: [{ state: 'stopping' }] });
  await server.ended('j1.0#1', { kind: 'stopped', reason: 'canceled', ranMs: 5 });
  t.match((await server.get('/v1/jobs/j1')).body, {
    state: 'finished',
    outcome: 'canceled',
    exitCode: 130,
    reason: /mistake/,
  });
  t.strictSame((await server.get('/v1/jobs/j1/why')).body.waiting, []);
  for (const action of ['cancel', 'hold', 'release'])
    isProblem(t, await server.post(`/v1/jobs/j1/${action}`), 409, 'conflict');
  isProblem(t, await server.post('/v1/jobs/j7/hold'), 404, 'not-found');
});

t.test('a node is looked after by name', async (t) => {
  const server = await serverOf(t);
  await server.join('n1');
  await server.submit({ command: ['true'], resources: { cpus: 3 } });
  t.match((await server.get('/v1/nodes')).body.nodes, [
    {
      name: 'n1',
      state: 'ready',
      link: 'connected',
      capacity: { cpuMillis: 4_000, gpuCount: 0 },
      free: { cpuMillis: 1_000 },
      allocations: 1,
      usage: null,
    },
  ]);
  t.match((await server.get('/v1/nodes/n2')).body, { status: 404, hint: 'did you mean "n1"?' });
  t.match((await server.post('/v1/nodes/n1/drain', { reason: 'a new disk', deadlineMs: null })).body, {
    ...{ state: 'draining', reason: 'a new disk', deadlineAt: null, allocations: 1, running: ['j1.0#1'] },
  });
  t.match((await server.post('/v1/nodes/n1/drain', { reason: 'a new disk', deadlineMs: 60_000 })).body, {
    deadlineAt: /^20\d\d-.*Z$/,
  });
  t.match((await server.post('/v1/nodes/n1/cordon', { reason: 'wait' })).body, { state: 'cordoned', reason: 'wait' });
  t.match((await server.post('/v1/nodes/n1/open')).body, { state: 'ready', reason: null });
  isProblem(t, await server.send('DELETE', '/v1/nodes/n1'), 409, 'conflict');
  await server.ended('j1.0#1');
  await server.engine.handle({ type: 'agentDeparting', nodeId: 'n1' as never, reason: 'stopped' });
  t.match((await server.get('/v1/nodes/n1')).body, { state: 'departed', intake: 'open' });
  t.equal((await server.send('DELETE', '/v1/nodes/n1')).status, 204);
  isProblem(t, await server.send('DELETE', '/v1/nodes/n1'), 404, 'not-found');
});

t.test('what no present node could hold is refused', async (t) => {
  const server = await serverOf(t);
  await server.join('n1');
  isProblem(
    t,
    await server.post('/v1/jobs', { command: ['true'], resources: { cpus: 64 } }),
    422,
    'impossible-resources',
  );
});

t.test('a fault that nobody foresaw is logged under its request id and shows nothing of its cause', async (t) => {
  const server = await serverOf(t);
  server.engine.read = () => Promise.reject(new Error('secret detail'));
  const answer = await server.get('/v1/jobs');
  isProblem(t, answer, 500, 'internal');
  t.notMatch(answer.text, 'secret');
  t.match(server.errors, [{ requestId: answer.body.requestId, error: { message: 'secret detail' } }]);
});
