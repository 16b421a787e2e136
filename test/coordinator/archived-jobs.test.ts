import t, { type Test } from 'tap';
import type { MemoryLimits } from '../../coordinator/model/memory-limits.js';
import type { JobId } from '../../shared/ids.js';
import { type Answer, startServer, type TestServer } from '../kit/http-server.js';

/** Nothing that is done stays in memory; a little does; everything. */
const MEMORIES: readonly MemoryLimits[] = [
  { doneTasks: 0, finishedJobs: 0 },
  { doneTasks: 3, finishedJobs: 2 },
  { doneTasks: 10_000, finishedJobs: 10_000 },
];

t.test('what has left memory is answered as if it had not', async (t) => {
  const [whole, ...others] = (await Promise.all(MEMORIES.map((memory) => storyWith(t, memory)))).reverse();
  for (const [position, answers] of others.reverse().entries()) {
    for (const [request, answer] of Object.entries(answers)) {
      t.strictSame(answer, whole?.[request], `${request} with ${JSON.stringify(MEMORIES[position])}`);
    }
  }
  t.match(whole?.['GET /v1/jobs?limit=2'], { length: 5 });
});

t.test('a key stands for its job also after the job has left memory', async (t) => {
  const server = await started(t, { doneTasks: 0, finishedJobs: 0 });
  const submit = () =>
    server.post('/v1/jobs', { name: 'keyed', command: ['true'] }, { headers: { 'idempotency-key': 'k' } });
  const first = await submit();
  await server.ended(`${first.body.job.id}.0#1`);
  await server.submit({ name: 'other', command: ['true'] });
  t.equal(server.engine.view.jobs.has(first.body.job.id as JobId), false);
  const second = await submit();
  t.match([second.status, second.body.job], [200, { id: first.body.job.id, state: 'finished', outcome: 'succeeded' }]);
});

t.test('one who waits hears of the end, also when the job leaves memory at once', async (t) => {
  const server = await started(t, { doneTasks: 0, finishedJobs: 0 });
  const id = await server.submit({ name: 'short', command: ['true'] });
  const waiting = server.get(`/v1/jobs/${id}?waitFor=finished&timeout=30s`);
  const log = server.get(`/v1/jobs/${id}/logs?follow=true`);
  while (server.service.watch.listenerCount < 2) await new Promise((resolve) => setImmediate(resolve));
  await server.wrote(`${id}.0#1`, 'hello', { last: true });
  await Promise.all([server.ended(`${id}.0#1`, undefined, 5), server.submit({ name: 'next', command: ['true'] })]);
  t.match((await waiting).body, { state: 'finished', exitCode: 0 });
  t.match((await log).text, /"text":"hello"/);
});

async function started(t: Test, memory: MemoryLimits): Promise<TestServer> {
  const server = await startServer({ memory, speed: 50 });
  t.teardown(() => server.close());
  await server.join('n1');
  return server;
}

/** Jobs that succeed, fail, are retried and canceled, with output; then every question that may be asked of them. */
async function storyWith(t: Test, memory: MemoryLimits): Promise<Record<string, unknown>> {
  const server = await started(t, memory);
  await server.submit({ name: 'align', array: '1-4', command: ['true'], labels: { zone: 'eu' } });
  for (const index of [2, 4, 1]) await server.ended(`j1.${index}#1`);
  await server.wrote('j1.3#1', 'three', { last: true });
  await server.ended('j1.3#1', { kind: 'exited', exitCode: 3, ranMs: 5 }, 9);
  const retry = { maxAttempts: 2, backoff: '0s', on: ['exited'] };
  await server.submit({ name: 'call', namespace: 'lab', command: ['true'], retry });
  await server.ended('j2.0#1', { kind: 'exited', exitCode: 9, ranMs: 5 });
  await server.ended('j2.0#2');
  const steps = [
    { name: 'a', array: '0-1', command: ['true'] },
    { name: 'b', needs: 'a', array: '0-3', command: ['true'] },
  ];
  await server.submit({ name: 'graph', steps });
  await server.ended('j3.a.0#1', { kind: 'signaled', signal: 'SIGKILL', ranMs: 5 });
  await server.ended('j3.a.1#1');
  await server.submit({ name: 'align', array: '0-20', command: ['true'] });
  for (const index of [0, 2, 3, 1]) await server.ended(`j4.${index}#1`);
  await server.submit({ name: 'call', command: ['true'] });
  return askAll(server);
}

async function askAll(server: TestServer): Promise<Record<string, unknown>> {
  const answers: Record<string, unknown> = {};
  const ask = async (method: string, path: string): Promise<void> => {
    const response = await server.open(method, path, method === 'POST' ? { body: {} } : {});
    answers[`${method} ${path}`] = { status: response.status, text: timeless(await response.text()) };
  };
  /** All pages as one: where they end may differ, as long as nothing is missing or doubled. */
  const pages = async (path: string): Promise<void> => {
    const items: string[] = [];
    let cursor: string | null = '';
    for (let page = 0; cursor !== null && page < 40; page += 1) {
      const { body }: Answer = await server.get(`${path}${cursor === '' ? '' : `&cursor=${cursor}`}`);
      for (const item of body.jobs ?? body.tasks ?? []) items.push(timeless(JSON.stringify(item)));
      cursor = body.nextCursor ?? null;
    }
    answers[`GET ${path}`] = items;
  };
  for (const query of [
    '',
    '&name=align',
    '&namespace=lab',
    '&label=zone%3Deu',
    '&state=finished',
    '&state=unfinished',
  ]) {
    for (const limit of [1, 2, 50]) await pages(`/v1/jobs?limit=${limit}${query}`);
  }
  for (const id of ['j1', 'j2', 'j3', 'j4', 'j9', 'x']) {
    for (const part of ['', '/spec', '/why', '/logs', '/logs?follow=true', '?waitFor=finished&timeout=1s']) {
      if (id === 'j4' && /follow|waitFor|why/.test(part)) continue;
      await ask('GET', `/v1/jobs/${id}${part}`);
    }
    for (const limit of [2, 50]) await pages(`/v1/jobs/${id}/tasks?limit=${limit}`);
    for (const state of ['done', 'failed', 'queued', 'placed', 'blocked'])
      await pages(`/v1/jobs/${id}/tasks?limit=2&state=${state}`);
    for (const task of ['0', '2', '3', 'a.0', 'b.1', '77']) {
      await ask('GET', `/v1/jobs/${id}/tasks/${task}`);
      if (id !== 'j4') await ask('GET', `/v1/jobs/${id}/tasks/${task}/logs?follow=true`);
      await ask('GET', `/v1/jobs/${id}/tasks/${task}/logs?attempt=2`);
    }
    if (id !== 'j4') for (const act of ['cancel', 'hold', 'release']) await ask('POST', `/v1/jobs/${id}/${act}`);
  }
  return answers;
}

/** Without what differs from run to run. */
function timeless(text: string): string {
  return text.replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'T').replaceAll(/"requestId":"[^"]*"|"queuedMs":\d+/g, '');
}
