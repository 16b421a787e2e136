import { appendFileSync, existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { OutputStream } from '../../agent/supervise/output-stream.js';
import { TaskLogs } from '../../coordinator/gateway/task-logs.js';
import { silentLog } from '../../shared/log.js';
import { startServer, type TestServer } from '../kit/http-server.js';
import { ManualClock } from '../kit/manual-clock.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { aChunk, ref } from '../kit/wire-samples.js';

function someLogs(stateDir: string, clock = new ManualClock()) {
  const logs = new TaskLogs({ stateDir, clock, log: silentLog });
  const start = clock.now();
  const times = async (from: number, to: number) =>
    (await logs.times(ref, 'stdout', from, to)).map(({ offset, at }) => [offset, at - start]);
  return { logs, clock, start, times };
}

t.test('bytes keep the time at which their agent first read them, in sparse marks', async (t) => {
  const stateDir = temporaryFolder(t);
  const sidecar = join(stateDir, 'logs', 'j1', 'train.0#1.out.times');
  const { logs, clock, start, times } = someLogs(stateDir);
  await logs.write(aChunk(0, 'ab'));
  clock.skip(99);
  await logs.write(aChunk(2, 'cd'));
  t.notOk(existsSync(sidecar), 'what came at one time needs no file');
  clock.skip(1_000);
  await logs.write(aChunk(4, 'ef', { ageMs: 500 }));
  clock.skip(1_000);
  await logs.write(aChunk(6, 'gh'));
  t.strictSame(await times(0, 8), [
    [0, 0],
    [4, 599],
    [6, 2_099],
  ]);
  t.strictSame(await times(3, 5), [
    [0, 0],
    [4, 599],
  ]);
  t.strictSame(await times(6, 8), [[6, 2_099]]);
  t.equal(await logs.offsetSince(ref, 'stdout', start), 0);
  t.equal(await logs.offsetSince(ref, 'stdout', start + 400), 4);
  t.equal(await logs.offsetSince(ref, 'stdout', start + 1_000), 6);
  t.equal(await logs.offsetSince(ref, 'stdout', start + 10_000), 8, 'where the next byte will be');
  await logs.close();

  appendFileSync(sidecar, Buffer.alloc(21, 0x41));
  const second = someLogs(stateDir, clock);
  clock.skip(1_000);
  await second.logs.write(aChunk(8, 'ij', { last: true }));
  t.strictSame(
    (await second.logs.times(ref, 'stdout', 0, 10)).map(({ offset }) => offset),
    [0, 4, 6, 8],
  );
  t.equal(statSync(sidecar).size, 4 * 16, 'what a crash left behind is gone');
  await second.logs.close();
});

t.test('a stream without marks has its time in that of its file', async (t) => {
  const stateDir = temporaryFolder(t);
  const { logs, clock, start, times } = someLogs(stateDir);
  clock.skip(5_000);
  await logs.write(aChunk(0, 'ab', { ageMs: 3_000, last: true }));
  t.strictSame(await times(0, 2), [[0, 2_000]]);
  t.equal(await logs.offsetSince(ref, 'stdout', start + 2_050), 0);
  t.equal(await logs.offsetSince(ref, 'stdout', start + 2_200), 2);
  t.strictSame(await logs.times(ref, 'stderr', 0, 1), []);
  await logs.close();
});

t.test('what is sent again keeps its age, however often', (t) => {
  const stream = new OutputStream();
  const ack = (offset: number) =>
    stream.acknowledge({ allocationId: 'j1.0#1' as never, stream: 'stdout', offset, complete: false });
  t.equal(stream.ageOf(10, 1_000), 0);
  stream.sent(10, false);
  t.equal(stream.ageOf(20, 1_500), 0);
  stream.sent(10, false);
  stream.rewind();
  t.equal(stream.ageOf(30, 5_000), 4_000, 'the first of its bytes was read then');
  stream.sent(30, false);
  ack(10);
  stream.rewind();
  t.equal(stream.ageOf(30, 6_000), 4_500);
  ack(20);
  stream.rewind();
  t.equal(stream.ageOf(30, 7_000), 2_000, 'what was new at the second time is of that time');
  t.end();
});

interface Line {
  readonly task: string;
  readonly stream: string;
  readonly at?: string;
  readonly text?: string;
}

async function serverWith(t: Test, spec: object): Promise<TestServer> {
  const server = await startServer();
  t.teardown(() => server.close());
  await server.join('n1');
  await server.submit({ command: ['true'], ...spec });
  return server;
}

/** The answer as it came: one document a line. */
async function ask(
  server: TestServer,
  query: string,
): Promise<{ readonly status: number; readonly lines: Line[]; readonly text: string }> {
  const response = await server.open('GET', `/v1/jobs/j1/logs?${query}`);
  const body = await response.text();
  const lines = response.ok
    ? body
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as Line)
    : [];
  return { status: response.status, lines, text: response.ok ? lines.map(({ text = '' }) => text).join('') : body };
}

const pause = (durationMs: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, durationMs));

t.test('both streams are passed on in the order in which their bytes came', async (t) => {
  const server = await serverWith(t, {});
  const order = ['stdout', 'stderr', 'stdout', 'stderr'] as const;
  for (const [position, stream] of order.entries()) {
    await server.wrote('j1.0#1', `${position}\n`, { stream });
    await pause(120);
  }
  const lines = (await ask(server, '')).lines;
  t.strictSame(
    lines.map(({ stream, text }) => `${stream} ${text}`),
    order.map((stream, n) => `${stream} ${n}\n`),
  );
  const times = lines.map(({ at = '' }) => Date.parse(at));
  t.strictSame(
    [...times].sort((left, right) => left - right),
    times,
  );
  t.ok(times.every((time) => Math.abs(time - Date.now()) < 20_000));

  const since = new Date((times[2] ?? 0) - 10).toISOString();
  t.equal((await ask(server, `since=${encodeURIComponent(since)}`)).text, '2\n3\n');
  t.equal((await ask(server, 'since=1h')).text, '0\n1\n2\n3\n');
  t.equal((await ask(server, 'since=0s')).text, '');
  t.equal((await ask(server, 'stream=stderr')).text, '1\n3\n');
  t.match(await ask(server, 'since=yesterday'), { status: 400, text: /since: .*neither 10m nor 2026/ });
});

t.test('the last lines of each stream are found from its end, with and without a last newline', async (t) => {
  const server = await serverWith(t, {});
  const long = 'x'.repeat(100_000);
  await server.wrote('j1.0#1', `one\n${long}\nthree\nfour`);
  const tail = async (count: number) => (await ask(server, `tail=${count}`)).text;
  t.strictSame([await tail(0), await tail(1), await tail(2)], ['', 'four', 'three\nfour']);
  t.ok((await tail(3)) === `${long}\nthree\nfour`);
  t.ok((await tail(4)) === `one\n${long}\nthree\nfour` && (await tail(9)) === (await tail(4)));
  await server.wrote('j1.0#1', '\n');
  t.equal(await tail(1), 'four\n');
});

t.test('following begins with the last lines and leaves out nothing that comes after', async (t) => {
  const server = await serverWith(t, { array: '1-2', retry: { maxAttempts: 2, backoff: '0s' } });
  await server.wrote('j1.1#1', 'a\nb\n');
  const following = ask(server, 'tail=1&follow=true');
  await pause(100);
  await server.wrote('j1.1#1', 'c\nd\n', { last: true });
  await server.ended('j1.1#1', { kind: 'exited', exitCode: 1, ranMs: 1 }, 8);
  await server.wrote('j1.1#2', 'e\nf\n', { last: true });
  await server.ended('j1.1#2', undefined, 4);
  await server.wrote('j1.2#1', 'g\nh\n', { last: true });
  await server.ended('j1.2#1', undefined, 4);
  t.equal((await following).text.split('\n').sort().join(''), 'bcdefgh');
});

t.test('tasks of an array and one of their attempts are chosen by number', async (t) => {
  const server = await serverWith(t, { array: '1-4', retry: { maxAttempts: 2, backoff: '0s' } });
  for (const index of [1, 2, 3, 4]) await server.wrote(`j1.${index}#1`, `${index} `, { last: true });
  await server.ended('j1.2#1', { kind: 'exited', exitCode: 1, ranMs: 1 }, 2);
  await server.wrote('j1.2#2', 'again ');
  const of = async (query: string) => (await ask(server, query)).text;
  t.equal(await of('task=1,3-4'), '1 3 4 ');
  t.equal(await of('task=main.2'), 'again ');
  t.equal(await of('task=2&attempt=1'), '2 ');
  t.equal(await of('attempt=1'), '1 2 3 4 ');
  t.equal(await of('task=9'), '');
  t.match(await server.get('/v1/jobs/j1/logs?task=other.1'), {
    status: 400,
    text: /names no step of j1; its steps are main/,
  });
  t.match(await ask(server, 'task=4-1'), { status: 400, text: /runs backwards/ });
  t.equal((await server.get('/v1/jobs/j9/logs?task=1')).status, 404);
});
