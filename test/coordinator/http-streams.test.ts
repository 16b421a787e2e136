import { Agent, get, type IncomingMessage } from 'node:http';
import t, { type Test } from 'tap';
import { MAX_STREAMS } from '../../coordinator/http/streams.js';
import { wholeCharacters } from '../../coordinator/service/whole-characters.js';
import { aJob } from '../kit/builders.js';
import { linesOf, startServer, type TestServer, type TestServerOptions, TOKEN } from '../kit/http-server.js';

async function serverOf(t: Test, options: TestServerOptions = {}): Promise<TestServer> {
  const server = await startServer(options);
  t.teardown(() => server.close());
  return server;
}

interface Message {
  readonly id: number;
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** The events of a stream, and 'ping' for each comment. */
async function* messagesOf(response: Response): AsyncGenerator<Message | 'ping'> {
  let fields: Record<string, string> = {};
  for await (const line of linesOf(response)) {
    if (line.startsWith(':')) yield 'ping';
    else if (line !== '') fields[line.slice(0, line.indexOf(':'))] = line.slice(line.indexOf(':') + 2);
    else if (fields.id !== undefined) {
      yield { id: Number(fields.id), type: fields.event ?? '', data: JSON.parse(fields.data ?? '') };
      fields = {};
    }
  }
}

async function takeEvents(response: Response, count: number): Promise<Message[]> {
  const taken: Message[] = [];
  for await (const message of messagesOf(response)) {
    if (message !== 'ping') taken.push(message);
    if (taken.length === count) break;
  }
  return taken;
}

const seqs = (messages: readonly Message[]): number[] => messages.map(({ id }) => id);
const upTo = (count: number, from = 1): number[] => Array.from({ length: count }, (_, position) => from + position);

t.test('events come from the log and then live, without gap or repetition', async (t) => {
  const server = await serverOf(t);
  await server.join('n1');
  const submission = { type: 'submitJob', spec: aJob({ hold: true }), by: 'admin' } as const;
  await server.engine.handleAll(Array.from({ length: 600 }, () => submission));
  // Events are committed just before and just after each look into the log: the first come twice, the others not at all.
  const history = server.engine.history.bind(server.engine);
  server.engine.history = async (after, limit) => {
    await server.engine.handle(submission);
    const page = await history(after, limit);
    await server.engine.handle(submission);
    return page;
  };
  const response = await server.open('GET', '/v1/events?after=0');
  t.match(response.headers.get('content-type'), /^text\/event-stream/);
  const taking = takeEvents(response, 1_002);
  for (let count = 0; count < 400; count += 1) await server.engine.handle(submission);
  const taken = await taking;
  t.strictSame(seqs(taken), upTo(1_002));
  t.match(taken[0], {
    type: 'node.registered',
    data: { seq: 1, type: 'node.registered', nodeId: 'n1', at: /^\d{4}-.*Z$/ },
  });
  t.match(taken[2], {
    type: 'job.submitted',
    data: { jobId: 'j1', by: 'admin', spec: { steps: [{ resources: { memory: '512MiB' } }] } },
  });
  t.notMatch(JSON.stringify(taken), 'identity-of', 'what identifies an agent is not shown');
});

t.test('a reader goes on behind Last-Event-ID, and one without begins with what happens now', async (t) => {
  const server = await serverOf(t);
  for (let count = 0; count < 5; count += 1) await server.submit({ command: ['true'] });
  const resumed = await server.open('GET', '/v1/events?after=1', { headers: { 'last-event-id': '3' } });
  t.strictSame(seqs(await takeEvents(resumed, 2)), [4, 5]);
  const fresh = await server.open('GET', '/v1/events?types=job.cancelRequested,job.finished');
  await server.post('/v1/jobs/j1/cancel', { reason: 'enough' });
  const taken = await takeEvents(fresh, 2);
  t.match(taken, [
    { type: 'job.cancelRequested', data: { jobId: 'j1', reason: 'enough' } },
    { type: 'job.finished', data: { outcome: 'canceled' } },
  ]);
  t.match((await server.get('/v1/events?types=job.finish')).body, {
    status: 400,
    problems: [{ message: 'did you mean "job.finished"?' }],
  });
});

t.test('a reader that comes back too late is told so', async (t) => {
  const server = await serverOf(t, { retainedEventCount: 3 });
  for (let count = 0; count < 9; count += 1) await server.submit({ command: ['true'] });
  await server.forgetOldEvents();
  for (let count = 0; count < 9; count += 1) await server.submit({ command: ['true'] });
  await server.forgetOldEvents();
  t.match(await server.get('/v1/events?after=1'), {
    status: 410,
    body: { status: 410, code: 'not-found', hint: 'from now on' },
  });
  t.match(await server.get('/v1/events?after=999'), { status: 410, body: { detail: 'event 18' } });
  t.strictSame(seqs(await takeEvents(await server.open('GET', '/v1/events?after=16'), 2)), [17, 18]);
});

t.test('a quiet stream gives a sign of life', async (t) => {
  const server = await serverOf(t, { speed: 1_000 });
  const response = await server.open('GET', '/v1/events?types=node.lost');
  let pings = 0;
  for await (const message of messagesOf(response)) {
    t.equal(message, 'ping');
    pings += 1;
    if (pings === 3) break;
  }
  t.equal(pings, 3);
});

t.test('output is read byte for byte from an offset, of the attempt that is asked for', async (t) => {
  const server = await serverOf(t);
  await server.join('n1');
  await server.submit({ command: ['true'], retry: { maxAttempts: 2, backoff: '0s' } });
  await server.wrote('j1.0#1', 'first attempt', { last: true });
  await server.wrote('j1.0#1', Buffer.from([0, 255, 10]), { stream: 'stderr', last: true });
  await server.ended('j1.0#1', { kind: 'exited', exitCode: 1, ranMs: 1 }, 13);
  await server.wrote('j1.0#2', 'second');
  const newest = await server.get('/v1/jobs/j1/tasks/0/logs?offset=3');
  t.strictSame(
    [newest.text, newest.headers.get('berth-attempt'), newest.headers.get('berth-offset')],
    ['ond', '2', '3'],
  );
  t.equal((await server.get('/v1/jobs/j1/tasks/main.0/logs?attempt=1')).text, 'first attempt');
  const raw = await server.open('GET', '/v1/jobs/j1/tasks/0/logs?attempt=1&stream=stderr');
  t.equal(raw.headers.get('content-type'), 'application/octet-stream');
  t.strictSame([...new Uint8Array(await raw.arrayBuffer())], [0, 255, 10]);
  t.equal((await server.get('/v1/jobs/j1/tasks/0/logs?offset=99')).text, '');
  t.match(await server.get('/v1/jobs/j1/tasks/0/logs?attempt=3'), { status: 404, body: { hint: '1 to 2' } });
  t.match(await server.get('/v1/jobs/j1/tasks/5/logs'), { status: 404, body: { code: 'not-found' } });
  t.match(await server.get('/v1/jobs/j1/tasks/0/logs?stream=stdin'), { status: 400 });
});

t.test('a followed log waits for the attempt, passes on what arrives, and ends when it is whole', async (t) => {
  const server = await serverOf(t);
  await server.submit({ command: ['true'] });
  const response = await server.open('GET', '/v1/jobs/j1/tasks/0/logs?follow=true');
  t.equal(response.headers.get('berth-attempt'), '1', 'the head comes before the first byte');
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  const next = async (): Promise<string> => Buffer.from((await reader.read()).value ?? []).toString();
  await server.join('n1');
  await server.wrote('j1.0#1', 'one\n');
  t.equal(await next(), 'one\n');
  await server.wrote('j1.0#1', 'two\n');
  t.equal(await next(), 'two\n');
  await server.ended('j1.0#1', undefined, 12);
  await server.wrote('j1.0#1', 'late', { last: true });
  t.equal(await next(), 'late', 'also what arrives after the end');
  t.equal((await reader.read()).done, true);
});

t.test('a followed log ends when nothing more can come', async (t) => {
  const server = await serverOf(t, { speed: 100 });
  const follow = (job: string): Promise<string> =>
    server.get(`/v1/jobs/${job}/tasks/0/logs?follow=true`).then(({ text }) => text);
  await server.submit({ command: ['true'] });
  const neverRan = follow('j1');
  await server.post('/v1/jobs/j1/cancel');
  t.equal(await neverRan, '', 'its task never ran');
  await server.join('n1');
  await server.submit({ command: ['true'] });
  await server.ended('j2.0#1');
  t.equal(await follow('j2'), '', 'its attempt wrote nothing');
  await server.submit({ command: ['true'] });
  await server.wrote('j3.0#1', 'half');
  await server.ended('j3.0#1', undefined, 100);
  const orphan = follow('j3');
  await server.engine.handle({ type: 'agentDeparting', nodeId: 'n1' as never, reason: 'stopped' });
  t.equal(await orphan, 'half', 'its node has gone with the rest');
});

interface LogLine {
  readonly task: string;
  readonly text?: string;
  readonly base64?: string;
}

/** Without the times, which log-view.test.ts looks at. */
async function logLines(response: Response): Promise<LogLine[]> {
  const lines: LogLine[] = [];
  for await (const line of linesOf(response)) {
    if (line !== '') lines.push(JSON.parse(line, (key, value) => (key === 'at' ? undefined : value)));
  }
  return lines;
}

t.test("a job's output is listed in task order, as text where it is text", async (t) => {
  const server = await serverOf(t);
  await server.join('n1');
  await server.submit({ array: '8-11', command: ['true'] });
  for (const index of [11, 9, 8]) await server.wrote(`j1.${index}#1`, `task ${index}: ü\n`);
  await server.wrote('j1.9#1', Buffer.from([0xff, 0xfe]), { stream: 'stderr' });
  const response = await server.open('GET', '/v1/jobs/j1/logs');
  t.equal(response.headers.get('content-type'), 'application/x-ndjson');
  t.strictSame(await logLines(response), [
    { task: 'j1.8', attempt: 1, stream: 'stdout', offset: 0, text: 'task 8: ü\n' },
    { task: 'j1.9', attempt: 1, stream: 'stdout', offset: 0, text: 'task 9: ü\n' },
    { task: 'j1.9', attempt: 1, stream: 'stderr', offset: 0, base64: '//4=' },
    { task: 'j1.11', attempt: 1, stream: 'stdout', offset: 0, text: 'task 11: ü\n' },
  ]);
  t.equal((await server.get('/v1/jobs/j9/logs')).status, 404);
});

t.test('a gap in the output is marked with its size, also when following', async (t) => {
  const server = await serverOf(t);
  await server.join('n1');
  await server.submit({ command: ['true'] });
  await server.wrote('j1.0#1', '0123456789', { last: true });
  await server.ended('j1.0#1', undefined, 25);
  const expected = [
    { task: 'j1.0', attempt: 1, stream: 'stdout', offset: 0, text: '0123456789' },
    { task: 'j1.0', attempt: 1, stream: 'stdout', offset: 10, missingBytes: 15 },
  ];
  t.strictSame(await logLines(await server.open('GET', '/v1/jobs/j1/logs')), expected);
  t.strictSame(await logLines(await server.open('GET', '/v1/jobs/j1/logs?follow=true')), expected);
});

t.test('an end that comes while the tasks are being listed ends the follow at once', async (t) => {
  const server = await serverOf(t);
  await server.join('n1');
  for (let round = 1; round <= 20; round += 1) {
    await server.submit({ array: '1-4', command: ['true'] });
    const following = server.open('GET', `/v1/jobs/j${round}/logs?follow=true`).then(logLines);
    await Promise.all([1, 2, 3, 4].map((index) => server.ended(`j${round}.${index}#1`, undefined, 0)));
    t.strictSame(await following, []);
  }
});

t.test('no character is cut in two unless there is nothing else to take', async (t) => {
  const euro = Buffer.from('a€');
  t.strictSame(
    [1, 2, 3, 4].map((length) => wholeCharacters(euro.subarray(0, length))),
    [1, 1, 1, 4],
  );
  t.strictSame(
    [euro.subarray(1, 3), Buffer.from('😀'), Buffer.from([0x80, 0x80, 0x80, 0x80]), Buffer.alloc(0)].map(
      wholeCharacters,
    ),
    [2, 4, 4, 0],
  );
});

t.test("a job's output is followed over all its attempts until it is finished and all has arrived", async (t) => {
  const server = await serverOf(t);
  await server.join('n1');
  await server.submit({ array: '1-2', command: ['true'], retry: { maxAttempts: 2, backoff: '0s' } });
  await server.wrote('j1.2#1', 'before\n');
  const following = server.open('GET', '/v1/jobs/j1/logs?follow=true').then(logLines);
  await server.wrote('j1.1#1', 'failing\n', { last: true });
  await server.ended('j1.1#1', { kind: 'exited', exitCode: 1, ranMs: 1 }, 8);
  await server.wrote('j1.1#2', 'again\n', { last: true });
  await server.ended('j1.1#2', undefined, 6);
  await server.ended('j1.2#1', undefined, 12);
  t.match((await server.get('/v1/jobs/j1')).body.state, 'finished');
  await server.wrote('j1.2#1', 'after\n', { last: true });
  const pieces = new Map<string, string>();
  for (const { task, attempt, text } of (await following) as (LogLine & { attempt: number })[]) {
    pieces.set(`${task}#${attempt}`, (pieces.get(`${task}#${attempt}`) ?? '') + text);
  }
  t.strictSame(Object.fromEntries([...pieces].sort()), {
    'j1.1#1': 'failing\n',
    'j1.1#2': 'again\n',
    'j1.2#1': 'before\nafter\n',
  });
  t.equal(server.service.watch.listenerCount, 0);
});

function openRaw(server: TestServer, path: string, agent: Agent): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    get(server.url + path, { agent, headers: { authorization: `Bearer ${TOKEN}` } }, resolve).on('error', reject);
  });
}

t.test('a reader that stops reading is waited for, and what it does not take is not fetched', async (t) => {
  const server = await serverOf(t);
  await server.join('n1');
  await server.submit({ command: ['true'] });
  const size = 64 * 1024 * 1024;
  await server.wrote('j1.0#1', Buffer.alloc(size, 'x'), { last: true });
  let fetched = 0;
  const read = server.logs.read.bind(server.logs);
  server.logs.read = async (...request) => {
    const bytes = await read(...request);
    fetched += bytes.length;
    return bytes;
  };
  const answer = await openRaw(server, '/v1/jobs/j1/tasks/0/logs', new Agent());
  let before = -1;
  while (before !== fetched) {
    before = fetched;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  t.ok(fetched > 0 && fetched < size / 4, `${fetched} bytes were fetched for a reader that takes none`);
  let taken = 0;
  for await (const piece of answer) taken += (piece as Buffer).length;
  t.equal(taken, size, 'and all of it when it reads again');
});

t.test('streams are counted: one too many is refused, and one that has gone makes room', async (t) => {
  const server = await serverOf(t);
  const agent = new Agent({ maxSockets: MAX_STREAMS });
  t.teardown(() => agent.destroy());
  const open = await Promise.all(upTo(MAX_STREAMS).map(() => openRaw(server, '/v1/events', agent)));
  const refused = await server.get('/v1/events');
  t.match(refused, { status: 429, body: { code: 'too-many-streams' } });
  t.ok(refused.headers.get('retry-after'));
  open[0]?.destroy();
  let status = 429;
  while (status === 429) {
    const again = await server.open('GET', '/v1/events');
    status = again.status;
    await again.body?.cancel();
  }
  t.equal(status, 200);
});

t.test('a server that closes answers who waits, and cuts streams so that none looks whole', async (t) => {
  const server = await startServer();
  await server.submit({ command: ['true'] });
  const waiting = server.get('/v1/jobs/j1?waitFor=finished');
  const agent = new Agent();
  const streams = await Promise.all(
    ['/v1/events', '/v1/jobs/j1/logs?follow=true', '/v1/jobs/j1/tasks/0/logs?follow=true'].map((path) =>
      openRaw(server, path, agent),
    ),
  );
  while (server.service.watch.listenerCount < 3) await new Promise((resolve) => setImmediate(resolve));
  const closed = server.close();
  t.match(await waiting, { status: 200, body: { state: 'active' } });
  for (const stream of streams) await t.rejects(readAll(stream), { code: 'ECONNRESET' });
  await closed;
  await t.rejects(server.get('/healthz'), 'nobody listens any more');
});

async function readAll(stream: IncomingMessage): Promise<void> {
  for await (const _ of stream);
}
