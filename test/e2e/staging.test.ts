import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startCluster } from '../kit/cluster.js';
import { until } from '../kit/until.js';

// Files in and out of real processes, by way of a real coordinator and a real agent.
const cluster = await startCluster({
  agentFlags: [
    '--input-root',
    'FOLDER/inputs',
    '--volumes',
    'scans=FOLDER/scans',
    '--volumes',
    'out=path=FOLDER/out,writable=true',
  ],
});
t.teardown(() => cluster.stop());
const { berth, api, folder, agents, coordinator } = cluster;
for (const name of ['inputs', 'scans/lung', 'out']) mkdirSync(join(folder, name), { recursive: true });

const fileOf = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');
const shell = (script: string): string[] => ['sh', '-c', script];

/** The job's end, and how its first task's newest attempt ended. */
async function endOf(jobId: string, task = '0') {
  const job = await api.finished(jobId, 30_000);
  const { attempts } = await api.json<{ attempts: readonly Attempt[] }>('GET', `/v1/jobs/${jobId}/tasks/${task}`);
  return { ...job, attempt: attempts.at(-1), attempts };
}

interface Attempt {
  readonly end: { readonly kind: string; readonly message?: string; readonly exitCode?: number };
  readonly note: string | null;
  readonly inputs: readonly { readonly path: string; readonly sha256: string }[];
}

t.test('a step takes what was put and what another step has left', async (t) => {
  const put = await berth(['put', fileOf('scan', 'one\ntwo\nthree\n')]);
  t.equal(put.stdout, `berth://sha256:${digestOf('one\ntwo\nthree\n')}\n`, put.stderr);
  const job = await api.submit({
    name: 'pipeline',
    steps: [
      {
        name: 'segment',
        array: '1-3',
        command: shell('mkdir -p result && sed -n "$BERTH_TASK_INDEX"p data/scan >result/line.txt && pwd >other'),
        inputs: [{ from: put.stdout.trim(), to: 'data/scan' }],
        outputs: [{ path: 'result/*.txt', required: true }],
      },
      {
        name: 'report',
        command: shell('cat parts/*/result/line.txt script; test "$PWD" = "$BERTH_WORKSPACE"'),
        inputs: [
          { from: { step: 'segment', path: 'result/*' }, to: 'parts' },
          { content: 'done\n', to: 'script', mode: '0755' },
        ],
      },
    ],
  });
  t.match(await api.finished(job.id, 30_000), { outcome: 'succeeded' });
  t.match(await berth(['logs', `${job.id}.report.0`]), { stdout: 'one\ntwo\nthree\ndone\n' });
  const listed = await berth(['get', job.id]);
  t.match(
    listed.stdout,
    new RegExp(`${job.id}\\.segment\\.2 +4B +${digestOf('two\n').slice(0, 12)} +result/line\\.txt`),
  );
  t.match(await berth(['get', job.id, '-o', join(folder, 'fetched')]), { exitCode: 0 });
  t.equal(readFileSync(join(folder, 'fetched', `${job.id}.segment.3`, 'result', 'line.txt'), 'utf8'), 'three\n');
  t.match(await berth(['get', `${job.id}.segment.1`, '-o', '-']), { stdout: 'one\n' });
  await until('the workspaces are gone', () => readdirSync(join(folder, 'n1', 'staging')).length === 0);
});

t.test('equal arrays pass their files index by index', async (t) => {
  const job = await api.submit({
    steps: [
      { name: 'a', array: '1-4', command: shell('echo $BERTH_TASK_INDEX >n'), outputs: ['n'] },
      {
        name: 'b',
        array: '1-4',
        command: shell('test "$(cat n)" = $BERTH_TASK_INDEX'),
        inputs: [{ from: { step: 'a', path: 'n' }, to: 'n' }],
      },
    ],
  });
  t.match(await api.finished(job.id, 30_000), { outcome: 'succeeded' });
});

t.test('what a failed task has left is kept, and its own exit code', async (t) => {
  const job = await api.submit({
    command: shell('echo half >trace; exit 3'),
    outputs: ['trace', { path: 'absent', required: true }],
  });
  const ended = await endOf(job.id);
  t.match(ended.attempt, { end: { kind: 'exited', exitCode: 3 }, note: /"absent"/ });
  t.match(await berth(['get', job.id, 'trace', '-o', '-']), { stdout: 'half\n' });
});

t.test('a command that succeeds without a required output has failed, and says which', async (t) => {
  const job = await api.submit({ command: ['true'], outputs: [{ path: 'model.bin', required: true }] });
  const ended = await endOf(job.id);
  t.match(ended, {
    outcome: 'failed',
    exitCode: 125,
    attempt: { end: { kind: 'outputs-failed', message: /"model\.bin"/ } },
  });
  t.match(await berth(['show', `${job.id}.0`]), { stdout: /model\.bin/ });
});

t.test('a wrong digest stops the task before it starts, with a message that names it', async (t) => {
  const wrong = digestOf('something else');
  const job = await api.submit({
    command: shell(`touch ${join(folder, 'ran')}`),
    inputs: [{ content: 'text', to: 'a', sha256: wrong }],
  });
  const message = new RegExp(`inputs\\[0\\] "a" from content.*${digestOf('text')}.*${wrong}`);
  t.match((await endOf(job.id)).attempt, { end: { kind: 'start-failed', message } });
  t.notOk(existsSync(join(folder, 'ran')));
});

t.test('files of the node come from permitted folders only, wherever links lead', async (t) => {
  const inside = fileOf('inputs/in', 'inside');
  fileOf('secret', 'secret');
  symlinkSync(join(folder, 'secret'), join(folder, 'inputs', 'link'));
  const from = (path: string) => ({ command: ['cat', 'x'], inputs: [{ from: `file://${path}`, to: 'x' }] });
  const taken = await endOf((await api.submit(from(inside))).id);
  t.match(taken, { outcome: 'succeeded', attempt: { inputs: [{ path: 'x', sha256: digestOf('inside') }] } });
  for (const path of [join(folder, 'secret'), join(folder, 'inputs/link'), join(folder, 'inputs/../secret')]) {
    const message = /secret is in none of the folders.*--input-root/;
    t.match((await endOf((await api.submit(from(path))).id)).attempt, { end: { kind: 'start-failed', message } }, path);
  }
});

t.test('inputs come over HTTP, from where the connection broke on, and no digest is taken on trust', async (t) => {
  const content = 'x'.repeat(200_000);
  const server = await flakyServer(t, content);
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const job = await api.submit({
    command: shell('wc -c <x'),
    inputs: [{ from: `${url}/file?token=hidden`, to: 'x', sha256: digestOf(content) }],
  });
  t.match(await endOf(job.id), { outcome: 'succeeded' });
  t.same(server.ranges, [undefined, 'bytes=100000-'], 'the second request asked for the rest only');
  const absent = await api.submit({ command: ['true'], inputs: [{ from: `${url}/absent?token=hidden`, to: 'x' }] });
  const message = (await endOf(absent.id)).attempt?.end.message ?? '';
  t.match(message, /HTTP 404/);
  t.notMatch(message, /hidden/, 'what may be a password is not repeated');
});

/** Breaks the first connection half-way. */
async function flakyServer(t: Test, content: string): Promise<Server & { ranges: (string | undefined)[] }> {
  const ranges: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    if (request.url?.startsWith('/absent')) return void response.writeHead(404).end();
    ranges.push(request.headers.range);
    const from = Number(/\d+/.exec(request.headers.range ?? '')?.[0] ?? 0);
    const body = content.slice(from);
    response.writeHead(from === 0 ? 200 : 206, { etag: '"v1"', 'content-length': body.length });
    if (ranges.length > 1) return void response.end(body);
    response.write(body.slice(0, 100_000), () => setTimeout(() => response.destroy(), 100));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  return Object.assign(server, { ranges });
}

t.test('a task is canceled, and meets its time limit, while its input is on its way', async (t) => {
  const silent = createServer(() => {});
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  t.teardown(() => silent.closeAllConnections());
  const inputs = [{ from: `http://127.0.0.1:${(silent.address() as AddressInfo).port}/never`, to: 'x' }];
  const canceled = await api.submit({ command: ['true'], inputs });
  await until('it prepares', async () => (await api.tasks(canceled.id))[0]?.state === 'placed');
  t.match(await berth(['cancel', canceled.id]), { exitCode: 0 });
  t.match(await endOf(canceled.id), { outcome: 'canceled', attempt: { end: { kind: 'stopped', reason: 'canceled' } } });
  const limited = await api.submit({ command: ['true'], inputs, timeLimit: '500ms' });
  t.match(await endOf(limited.id), { attempt: { end: { kind: 'stopped', reason: 'time-limit' } } });
  silent.close();
});

t.test('volumes are links and variables, and what a node does not have is refused at once', async (t) => {
  writeFileSync(join(folder, 'scans', 'lung', '1.nii'), 'lung');
  const job = await api.submit({
    command: shell('cat in/1.nii; cat "$BERTH_VOLUME_SCANS/1.nii"; echo kept >"$BERTH_VOLUME_OUT/kept"'),
    volumes: [
      { name: 'scans', mount: 'in', subpath: 'lung' },
      { name: 'out', mount: 'out', readOnly: false },
    ],
  });
  t.match(await endOf(job.id), { outcome: 'succeeded' });
  t.match(await berth(['logs', job.id]), { stdout: 'lunglung' });
  t.equal(readFileSync(join(folder, 'out', 'kept'), 'utf8'), 'kept\n');

  const refused = await api.request('POST', '/v1/jobs', {
    command: ['true'],
    volumes: [{ name: 'models', mount: 'm' }],
  });
  t.match(refused, { status: 422, text: /n1: it has no volume \\"models\\"/ });
  const writing = { command: ['true'], volumes: [{ name: 'scans', mount: 's', readOnly: false }] };
  t.match(await api.request('POST', '/v1/jobs', writing), { status: 422, text: /read-only there/ });
  t.match(await berth(['nodes', 'n1']), { stdout: /scans \(read-only\)/ });
});

t.test('an input that is not there any more is refused when it is submitted', async (t) => {
  const from = `berth://sha256:${digestOf('never put')}`;
  const refused = await api.request('POST', '/v1/jobs', { command: ['true'], inputs: [{ from, to: 'x' }] });
  t.match(refused, { status: 422, text: /steps\[0\]\.inputs\[0\]\.from.*there is no artifact/ });
});

t.test('kill -9 of the agent while files come in and go out loses and doubles nothing', async (t) => {
  const [agent] = agents;
  const gate = fileOf('gate', '');
  const slow = createServer((request, response) => {
    const answer = (): void => void (existsSync(gate) ? setTimeout(answer, 20) : response.end('slow'));
    answer();
    void request;
  });
  await new Promise<void>((resolve) => slow.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    slow.closeAllConnections();
    slow.close();
  });
  const witness = join(folder, 'starts');
  const job = await api.submit({
    command: shell(`echo start >>${witness}; cat x; head -c 30000000 /dev/zero >big; rm -f ${gate}`),
    inputs: [{ from: `http://127.0.0.1:${(slow.address() as AddressInfo).port}/x`, to: 'x' }],
    outputs: ['big'],
  });
  await until('it stages in', async () => (await api.tasks(job.id))[0]?.state === 'placed');
  await agent?.kill();
  t.notOk(existsSync(witness));
  await agent?.start();
  rmSync(gate);
  await until(
    'it stages out',
    () => existsSync(join(folder, 'n1', 'staging', `${job.id}.0#1`, 'work', 'big')) && existsSync(witness),
  );
  await agent?.kill();
  await coordinator.kill();
  await coordinator.start();
  await agent?.start();
  const ended = await endOf(job.id);
  t.match(ended, { outcome: 'succeeded', attempts: { length: 1 } });
  t.equal(readFileSync(witness, 'utf8'), 'start\n', 'the command ran once');
  const { outputs } = await api.json<{ outputs: readonly { path: string; sizeBytes: number }[] }>(
    'GET',
    `/v1/jobs/${job.id}/outputs`,
  );
  t.match(outputs, [{ path: 'big', sizeBytes: 30_000_000 }]);
  t.same(readdirSync(join(cluster.stateDir, 'artifacts', 'incoming')), [], 'no half of an upload is left');
});
