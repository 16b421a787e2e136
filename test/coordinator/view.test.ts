import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import t from 'tap';
import { aJob, aTask, finished } from '../fakes/fake-api.js';
import { fakeApi, Session } from '../kit/client-session.js';
import { BERTH_ENTRY } from '../kit/command.js';

t.test('run: prints the task’s output as it is and exits with its code', async (t) => {
  const api = await fakeApi(t);
  const session = new Session(api);
  const running = session.run('run', '--cpus', '2', '-e', 'A=1', '-e', 'B=x=y', '--', 'sh', '-c', 'exit 7');
  await api.until(() => api.seen.some(({ path }) => path === '/v1/jobs/j1/logs'));
  api.write('j1', { task: 'j1.0', stream: 'stdout', text: 'one\ntw' });
  api.write('j1', { task: 'j1.0', stream: 'stderr', text: 'careful\n' });
  api.write('j1', { task: 'j1.0', stream: 'stdout', base64: Buffer.from('o\n').toString('base64') });
  api.change('j1', finished(7));
  t.equal(await running, 7);
  t.equal(session.stdout, 'one\ntwo\n');
  t.equal(session.stderr, 'careful\n');
  const submission = api.seen.find(({ method }) => method === 'POST');
  t.match(submission?.body, {
    steps: [{ command: ['sh', '-c', 'exit 7'], env: { A: '1', B: 'x=y' }, resources: { cpus: 2 } }],
  });
  t.match(submission?.headers, { 'idempotency-key': /^[0-9a-f]{32}$/, authorization: 'Bearer secret' });
});

t.test('run: a broken connection neither loses nor repeats output, and is remarked upon once', async (t) => {
  const api = await fakeApi(t);
  const session = new Session(api);
  const running = session.run('run', '--', 'work');
  const followed = (): number => api.seen.filter(({ path }) => path.endsWith('/logs')).length;
  await api.until(() => followed() === 1);
  api.write('j1', { task: 'j1.0', stream: 'stdout', text: 'before\n' });
  await session.prints('before');
  await api.stop();
  api.write('j1', { task: 'j1.0', stream: 'stdout', text: 'during\n' });
  await api.start();
  await api.until(() => followed() >= 2);
  api.write('j1', { task: 'j1.0', stream: 'stdout', text: 'after\n' });
  api.change('j1', finished(0));
  t.equal(await running, 0);
  t.equal(session.stdout, 'before\nduring\nafter\n');
  t.equal(session.stderr.match(/trying again/g)?.length, 1);
});

t.test('run: an answer that ends in good order before the job does is asked for again', async (t) => {
  const api = await fakeApi(t);
  api.closesStreams = true;
  const session = new Session(api);
  const running = session.run('run', '--', 'work');
  await api.until(() => api.seen.filter(({ path }) => path.endsWith('/logs')).length === 2);
  api.closesStreams = false;
  api.write('j1', { task: 'j1.0', stream: 'stdout', text: 'late\n' });
  await session.prints('late');
  api.change('j1', finished(0));
  t.equal(await running, 0);
  t.equal(session.stdout, 'late\n');
});

t.test('run: a gap in the output is told with its size', async (t) => {
  const api = await fakeApi(t);
  api.template = finished(0);
  api.output.set('j1', [
    { task: 'j1.0', attempt: 1, stream: 'stdout', offset: 0, text: 'a' },
    { task: 'j1.0', attempt: 1, stream: 'stdout', offset: 11, text: 'b' },
  ]);
  const session = new Session(api);
  t.equal(await session.run('run', '--', 'work'), 0);
  t.equal(session.stdout, 'ab');
  t.match(session.stderr, "10 bytes of j1.0's stdout are lost");
});

t.test('run: a submission whose answer is lost is repeated under the same key and makes one job', async (t) => {
  const api = await fakeApi(t);
  api.losesSubmissions = 2;
  const session = new Session(api);
  t.equal(await session.run('run', '-d', '--', 'work'), 0);
  t.equal(session.stdout, 'j1\n');
  const keys = api.seen.filter(({ method }) => method === 'POST').map(({ headers }) => headers['idempotency-key']);
  t.equal(keys.length, 3);
  t.equal(new Set(keys).size, 1);
});

t.test('run: lines of an array carry their index, whole, and an unfinished one gets its end', async (t) => {
  const api = await fakeApi(t);
  api.template = { taskCount: 2, ...finished(3) };
  api.write('j1', { task: 'j1.1', stream: 'stdout', text: 'one\nha' });
  api.write('j1', { task: 'j1.2', stream: 'stdout', text: 'two\n' });
  api.write('j1', { task: 'j1.1', stream: 'stdout', text: 'lf\nrest' });
  const session = new Session(api);
  t.equal(await session.run('run', '--array', '1-2', '--', 'work'), 3);
  t.equal(session.stdout, '[1] one\n[2] two\n[1] half\n[1] rest\n');
});

t.test('run: the time limit of the client ends it with 124 and says how to come back', async (t) => {
  const api = await fakeApi(t);
  const session = new Session(api);
  t.equal(await session.run('run', '--timeout', '80ms', '--', 'work'), 124);
  t.match(session.stderr, /time limit has passed; j1 continues(.|\n)*berth logs -f j1\n {2}berth wait j1\n/);
  t.not(api.jobs.get('j1')?.state, 'canceling');
});

t.test('run: Ctrl-C detaches, leaves the job alone and leaves the next Ctrl-C to the system', async (t) => {
  const api = await fakeApi(t);
  const session = new Session(api);
  const running = session.run('run', '--', 'work');
  await api.until(() => api.seen.some(({ query }) => query.waitFor === 'finished'));
  session.signal('SIGINT');
  t.equal(session.listeners.size, 0);
  t.equal(await running, 130);
  t.match(session.stderr, /detached; j1 continues(.|\n)*berth cancel j1/);
  t.equal(api.jobs.get('j1')?.state, 'active');
});

t.test('run: a failure of Berth or a signal is explained, a failure of the task speaks for itself', async (t) => {
  const api = await fakeApi(t);
  api.template = finished(125, { reason: 'node n1 was lost' });
  const session = new Session(api);
  t.equal(await session.run('run', '--', 'work'), 125);
  t.equal(session.stderr, `berth: j1 failed (exit code 125): node n1 was lost\n`);
});

t.test('run: --print shows the specification and submits nothing', async (t) => {
  const api = await fakeApi(t);
  const session = new Session(api);
  t.equal(await session.run('run', '--print', '--memory', '15GiB', '--', 'align', '--fast'), 0);
  t.match(JSON.parse(session.stdout), { steps: [{ command: ['align', '--fast'], resources: { memory: '15GiB' } }] });
  t.same(api.seen, []);
});

t.test('run: a script gets its directives, the flags over them, and the words after -- as arguments', async (t) => {
  const api = await fakeApi(t);
  const script = join(t.testdir({ 'train.sh': '#!/bin/sh\n#BERTH --cpus 2 --memory 1GiB\ntrue\n' }), 'train.sh');
  const session = new Session(api);
  t.equal(await session.run('run', '-d', '--cpus', '8', script, '--', '--epochs', '10'), 0);
  t.match(api.seen.at(-1)?.body, {
    name: 'train',
    steps: [{ args: ['--epochs', '10'], resources: { cpus: 8, memory: '1GiB' } }],
  });
});

t.test('run: what cannot be run is refused with its remedy', async (t) => {
  const api = await fakeApi(t);
  const rows: readonly [string[], RegExp][] = [
    [['run'], /nothing to run/],
    [['run', '--'], /nothing to run/],
    [['run', 'sleep', '5'], /no job file "sleep 5"\n {2}hint: .* berth run -- sleep 5/],
    [['run', '--cpus', 'many', '--', 'x'], /resources\.cpus: "many"/],
    [['run', '--timeout', '5', '--', 'x'], /--timeout: 5 has no unit/],
    [['run', '--cpu', '5', '--', 'x'], /unknown option '--cpu'\n\(Did you mean --cpus\?\)/],
    [['run', '-d', '--wait', '--', 'x'], /cannot be used with/],
    [['rnu', '--', 'x'], /unknown command 'rnu'\n\(Did you mean run\?\)/],
  ];
  for (const [argv, message] of rows) {
    const session = new Session(api);
    t.equal(await session.run(...argv), 64, argv.join(' '));
    t.match(session.stderr, message);
  }
  t.same(api.seen, []);
});

t.test('submit: prints the id alone for programs and the next step for people', async (t) => {
  const api = await fakeApi(t);
  const input = 'name: align\ncommand: [align]\n';
  const forPrograms = new Session(api, { input });
  t.equal(await forPrograms.run('submit', '-'), 0);
  t.equal(forPrograms.stdout, 'j1\n');
  t.equal(forPrograms.stderr, '');
  const forPeople = new Session(api, { input, isTerminal: true });
  t.equal(await forPeople.run('submit', '-'), 0);
  t.equal(forPeople.stdout, '');
  t.match(forPeople.stderr, 'submitted j2 (align); follow it with: berth logs -f j2');
});

t.test('submit: --wait exits with the highest code and prints no output of tasks', async (t) => {
  const api = await fakeApi(t);
  api.template = finished(9);
  const session = new Session(api, { input: 'command: [align]' });
  t.equal(await session.run('submit', '--wait', '-'), 9);
  t.equal(session.stdout, 'j1\n');
  t.match(session.stderr, 'j1 failed (exit code 9)');
});

t.test('submit: a broken file is refused with file, line and column', async (t) => {
  const api = await fakeApi(t);
  const file = join(t.testdir({ 'job.yaml': 'name: a\ncommand: [x]\nresources:\n  cpuz: 4\n' }), 'job.yaml');
  const session = new Session(api);
  t.equal(await session.run('submit', file), 64);
  t.match(session.stderr, `${file}:4:3 resources.cpuz`);
  t.match(session.stderr, /did you mean "cpus"/);
  t.same(api.seen, []);
});

t.test('submit: the coordinator’s refusal is shown with its problems', async (t) => {
  const api = await fakeApi(t);
  api.refusesSubmission = {
    code: 'impossible-resources',
    detail: 'no node has 900 cpus',
    hint: 'ask for at most 64',
    problems: [{ field: 'resources.cpus', message: 'the largest node has 64' }],
  };
  const session = new Session(api, { input: 'command: [x]' });
  t.equal(await session.run('submit', '-'), 64);
  t.match(session.stderr, /no node could ever hold this\n {2}resources\.cpus: the largest node has 64\n {2}hint: ask/);
});

t.test('wait and control', async (t) => {
  const api = await fakeApi(t);
  api.change('j1', { ...aJob('j1'), ...finished(3) });
  api.change('j2', aJob('j2'));
  const waiting = new Session(api);
  const exit = waiting.run('wait', 'j2', 'j1');
  await api.until(() => api.seen.some(({ path, query }) => path.endsWith('/j2') && query.waitFor === 'finished'));
  api.change('j2', finished(137));
  t.equal(await exit, 137, 'the highest of the exit codes');
  t.equal(waiting.stdout, '');

  api.change('j3', aJob('j3'));
  const cancel = new Session(api);
  t.equal(await cancel.run('cancel', 'j1', 'j3', '--reason', 'wrong input'), 64, 'one of them is finished');
  t.equal(cancel.stdout, 'j3 canceling\n');
  t.match(cancel.stderr, 'j1 is finished');
  t.same(api.seen.at(-1)?.body, { reason: 'wrong input' });
  api.change('j4', aJob('j4'));
  const hold = new Session(api);
  t.equal(await hold.run('hold', 'j4'), 0);
  t.equal(await hold.run('release', 'j4'), 0);
  t.match(hold.stdout, /^j4 held\nj4 running\n$/);

  t.test('a wait outlives a restart of the coordinator', async (t) => {
    api.change('j5', aJob('j5'));
    const session = new Session(api);
    const running = session.run('wait', 'j5');
    await api.until(() => api.seen.some(({ path, query }) => path.endsWith('/j5') && query.waitFor === 'finished'));
    await api.stop();
    api.change('j5', finished(0));
    await api.start();
    t.equal(await running, 0);
    t.equal(session.stderr.match(/trying again/g)?.length, 1);
  });
});

t.test('logs', async (t) => {
  const api = await fakeApi(t);
  const ended = { gpus: [], committedAt: '', startedAt: null, endedAt: null, ranMs: 1, end: null, node: 'n1' };
  api.change('j1', { ...aJob('j1'), taskCount: 2, ...finished(0) });
  for (const task of ['j1.0', 'j1.1']) {
    api.write('j1', { task, stream: 'stdout', text: `out of ${task}\n` });
    api.write('j1', { task, stream: 'stderr', text: `err of ${task}\n` });
  }
  api.tasks.set('j1.1', aTask('j1.1'));

  const all = new Session(api);
  t.equal(await all.run('logs', 'j1'), 0);
  t.equal(all.stdout, '[0] out of j1.0\n[1] out of j1.1\n');
  t.equal(all.stderr, '[0] err of j1.0\n[1] err of j1.1\n');
  const one = new Session(api);
  t.equal(await one.run('logs', 'j1.1', '--stderr'), 0);
  t.equal(one.stdout + one.stderr, 'err of j1.1\n');
  const attempt = new Session(api);
  t.equal(await attempt.run('logs', 'j1', '--attempt', '1'), 64);
  t.match(attempt.stderr, /--attempt is of one task, and j1 has 2/);

  t.test('following a task resumes at its byte and goes on to its next attempt', async (t) => {
    api.change('j2', aJob('j2'));
    const view = (attempts: readonly object[]) => aTask('j2.0', { attempts: attempts as never });
    const first = { ...ended, attempt: 1, allocationId: 'j2.0#1', state: 'running', output: null };
    api.tasks.set('j2.0', view([first]));
    const session = new Session(api);
    const running = session.run('logs', '-f', 'j2.0');
    const streams = (): typeof api.seen => api.seen.filter(({ path }) => path === '/v1/jobs/j2/tasks/0/logs');
    await api.until(() => streams().length === 2);
    api.write('j2', { task: 'j2.0', stream: 'stdout', text: 'größer\n' });
    await session.prints('größer');
    api.breakConnections();
    await api.until(() => streams().length === 4);
    t.ok(
      streams().some(({ query }) => query.offset === '9'),
      'from where it was',
    );
    const firstEnded = { ...first, state: 'ended', output: { stdoutBytes: 9, stderrBytes: 0 } };
    const second = { ...first, attempt: 2, allocationId: 'j2.0#2', state: 'running' };
    api.tasks.set('j2.0', view([firstEnded, second]));
    api.write('j2', { task: 'j2.0', stream: 'stdout', text: 'again\n', attempt: 2 });
    await api.until(() => streams().some(({ query }) => query.attempt === '2'));
    const secondEnded = { ...second, state: 'ended', output: { stdoutBytes: 6, stderrBytes: 0 } };
    api.tasks.set('j2.0', { ...view([firstEnded, secondEnded]), state: 'done' });
    api.change('j2', finished(0));
    t.equal(await running, 0);
    t.equal(session.stdout, 'größer\nagain\n');
  });
});

t.test('a terminal gets a progress line that leaves nothing behind', async (t) => {
  const api = await fakeApi(t);
  const counts = { blocked: 0, queued: 60, placed: 0, succeeded: 40, failed: 0, canceled: 0, dropped: 0 };
  api.template = { taskCount: 100, counts, waitingReason: 'all nodes are busy' };
  const session = new Session(api, { isTerminal: true });
  const running = session.run('run', '--array', '1-100', '--', 'work');
  await session.prints('40/100');
  t.match(session.stderr, '████████░░░░░░░░░░░░ 40/100  60 queued, 40 succeeded');
  api.change('j1', finished(0));
  t.equal(await running, 0);
  t.ok(session.stderr.lastIndexOf('\u001b[2K') > session.stderr.lastIndexOf('█'), 'the line is erased');
  t.notMatch(session.stdout, '█');
});

t.test('as a process', async (t) => {
  const api = await fakeApi(t);
  const env = { BERTH_URL: api.url, BERTH_TOKEN: api.token, PATH: process.env.PATH ?? '' };
  const start = (...argv: string[]) => spawn(process.execPath, [BERTH_ENTRY, ...argv], { env });

  t.test('it passes bytes through as they are and exits with the task’s code', async (t) => {
    const bytes = Buffer.from([0xff, 0x00, 0x0a, 0xc3]);
    api.template = finished(7);
    api.write('j1', { task: 'j1.0', stream: 'stdout', base64: bytes.toString('base64') });
    const child = start('run', '--', 'work');
    const pieces: Buffer[] = [];
    child.stdout.on('data', (piece: Buffer) => pieces.push(piece));
    const [code] = await once(child, 'close');
    t.equal(code, 7);
    t.same(Buffer.concat(pieces), bytes);
  });

  t.test('it leaves quietly when its reader has gone', async (t) => {
    for (let line = 0; line < 2_000; line += 1)
      api.write('j1', { task: 'j1.0', stream: 'stdout', text: 'x'.repeat(100) });
    const child = start('logs', 'j1');
    let stderr = '';
    child.stderr.on('data', (text) => {
      stderr += text;
    });
    child.stdout.once('data', () => child.stdout.destroy());
    const [code] = await once(child, 'close');
    t.equal(code, 141);
    t.equal(stderr, '');
  });

  t.test('SIGINT detaches it while it waits for the coordinator to come back', async (t) => {
    api.template = {};
    const child = start('run', '--', 'work');
    let stderr = '';
    child.stderr.on('data', (text) => {
      stderr += text;
      if (String(text).includes('trying again')) child.kill('SIGINT');
    });
    await api.until(() => api.seen.some(({ path, query }) => path === '/v1/jobs/j2' && query.waitFor === 'finished'));
    await api.stop();
    const [code] = await once(child, 'close');
    t.equal(code, 130);
    t.match(stderr, 'detached; j2 continues');
    await api.start();
  });
});
