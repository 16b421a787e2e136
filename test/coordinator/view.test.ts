import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import t, { type Test } from 'tap';
import { ApiClient } from '../../coordinator/view/client.js';
import { type ClientConfig, findCoordinator, readClientConfig } from '../../coordinator/view/config.js';
import { type StopSignal, screenOf } from '../../coordinator/view/context.js';
import { displayWidth, truncate } from '../../coordinator/view/format/text.js';
import { roughDuration } from '../../coordinator/view/format/time.js';
import { runClient } from '../../coordinator/view/program.js';
import { systemClock } from '../../shared/clock.js';
import { seededRandom } from '../../shared/random.js';
import { VERSION } from '../../shared/version.js';
import { aJob, aNode, aTask, FakeApi, finished } from '../fakes/fake-api.js';

interface SessionOptions {
  readonly isTerminal?: boolean;
  readonly config?: Partial<ClientConfig>;
  readonly input?: string;
}

/** A client at a keyboard: what it wrote, and the signals that it gets. */
class Session {
  stdout = '';
  stderr = '';
  readonly listeners = new Set<(signal: StopSignal) => void>();
  readonly #config: ClientConfig;
  readonly #options: SessionOptions;

  constructor(api: FakeApi, options: SessionOptions = {}) {
    this.#options = options;
    const environment = { BERTH_URL: api.url, BERTH_TOKEN: api.token, HOME: '/nonexistent' };
    this.#config = { ...readClientConfig(environment), ...options.config };
  }

  run(...argv: string[]): Promise<number> {
    const screen = (write: (text: string) => void) => {
      const stream = new Writable({ write: (chunk, _, done) => done(void write(String(chunk))) });
      const terminal = { isTTY: this.#options.isTerminal ?? false, columns: 80 };
      return screenOf(Object.assign(stream, terminal), this.#config);
    };
    return runClient(argv, {
      out: screen((text) => {
        this.stdout += text;
      }),
      err: screen((text) => {
        this.stderr += text;
      }),
      clock: systemClock,
      random: seededRandom(7),
      config: this.#config,
      api: new ApiClient({ locate: () => findCoordinator(this.#config), clock: systemClock }),
      readInput: async () => this.#options.input ?? '',
      onSignal: (listener) => {
        this.listeners.add(listener);
        return () => this.listeners.delete(listener);
      },
    });
  }

  signal(signal: StopSignal): void {
    for (const listener of this.listeners) listener(signal);
  }
}

async function fakeApi(t: Test): Promise<FakeApi> {
  const api = new FakeApi();
  await api.start();
  t.teardown(() => api.stop());
  return api;
}

function lastSubmitted(api: FakeApi): string {
  return [...api.jobs.keys()].filter((id) => id !== 'template').at(-1) ?? '';
}

t.test('run', async (t) => {
  t.test('prints the task’s output as it is and exits with its code', async (t) => {
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

  t.test('a broken connection neither loses nor repeats output, and is remarked upon once', async (t) => {
    const api = await fakeApi(t);
    const session = new Session(api);
    const running = session.run('run', '--', 'work');
    const followed = (): number => api.seen.filter(({ path }) => path.endsWith('/logs')).length;
    await api.until(() => followed() === 1);
    api.write('j1', { task: 'j1.0', stream: 'stdout', text: 'before\n' });
    await api.until(() => api.seen.length > 0 && session.stdout !== '').catch(() => undefined);
    await api.stop();
    api.write('j1', { task: 'j1.0', stream: 'stdout', text: 'during\n' });
    await api.start();
    await api.until(() => followed() >= 2);
    api.write('j1', { task: 'j1.0', stream: 'stdout', text: 'after\n' });
    api.change('j1', finished(0));
    t.equal(await running, 0);
    t.equal(session.stdout, 'before\nduring\nafter\n');
    t.match(session.stderr, /cannot reach the coordinator|connection to the coordinator broke/);
  });

  t.test('a gap in the output is told with its size', async (t) => {
    const api = await fakeApi(t);
    api.change('template', finished(0));
    api.output.set('j2', [
      { task: 'j2.0', attempt: 1, stream: 'stdout', offset: 0, text: 'a' },
      { task: 'j2.0', attempt: 1, stream: 'stdout', offset: 11, text: 'b' },
    ]);
    const session = new Session(api);
    t.equal(await session.run('run', '--', 'work'), 0);
    t.equal(session.stdout, 'ab');
    t.match(session.stderr, "10 bytes of j2.0's stdout are lost");
  });

  t.test('a submission whose answer is lost is repeated under the same key and makes one job', async (t) => {
    const api = await fakeApi(t);
    api.losesSubmissions = 2;
    const session = new Session(api);
    t.equal(await session.run('run', '-d', '--', 'work'), 0);
    t.equal(session.stdout, 'j1\n');
    const keys = api.seen.filter(({ method }) => method === 'POST').map(({ headers }) => headers['idempotency-key']);
    t.equal(keys.length, 3);
    t.equal(new Set(keys).size, 1);
  });

  t.test('lines of an array carry their index, whole, and an unfinished one gets its end', async (t) => {
    const api = await fakeApi(t);
    api.change('template', { taskCount: 2, ...finished(3) });
    api.write('j2', { task: 'j2.1', stream: 'stdout', text: 'one\nha' });
    api.write('j2', { task: 'j2.2', stream: 'stdout', text: 'two\n' });
    api.write('j2', { task: 'j2.1', stream: 'stdout', text: 'lf\nrest' });
    const session = new Session(api);
    t.equal(await session.run('run', '--array', '1-2', '--', 'work'), 3);
    t.equal(session.stdout, '[1] one\n[2] two\n[1] half\n[1] rest\n');
  });

  t.test('the time limit of the client ends it with 124 and says how to come back', async (t) => {
    const api = await fakeApi(t);
    const session = new Session(api);
    t.equal(await session.run('run', '--timeout', '80ms', '--', 'work'), 124);
    t.match(session.stderr, /time limit has passed; j1 continues(.|\n)*berth logs -f j1\n {2}berth wait j1\n/);
    t.not(api.jobs.get('j1')?.state, 'canceling');
  });

  t.test('Ctrl-C detaches, leaves the job alone and leaves the next Ctrl-C to the system', async (t) => {
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

  t.test('a failure of Berth or a signal is explained, a failure of the task speaks for itself', async (t) => {
    const api = await fakeApi(t);
    api.change('template', finished(125, { reason: 'node n1 was lost' }));
    const session = new Session(api);
    t.equal(await session.run('run', '--', 'work'), 125);
    t.equal(session.stderr, `berth: ${lastSubmitted(api)} failed (exit code 125): node n1 was lost\n`);
  });

  t.test('--print shows the specification and submits nothing', async (t) => {
    const api = await fakeApi(t);
    const session = new Session(api);
    t.equal(await session.run('run', '--print', '--memory', '15GiB', '--', 'align', '--fast'), 0);
    t.match(JSON.parse(session.stdout), { steps: [{ command: ['align', '--fast'], resources: { memory: '15GiB' } }] });
    t.same(api.seen, []);
  });

  t.test('a script gets its directives, the flags over them, and the words after -- as arguments', async (t) => {
    const api = await fakeApi(t);
    const script = join(t.testdir({ 'train.sh': '#!/bin/sh\n#BERTH --cpus 2 --memory 1GiB\ntrue\n' }), 'train.sh');
    const session = new Session(api);
    t.equal(await session.run('run', '-d', '--cpus', '8', script, '--', '--epochs', '10'), 0);
    t.match(api.seen.at(-1)?.body, {
      name: 'train',
      steps: [{ args: ['--epochs', '10'], resources: { cpus: 8, memory: '1GiB' } }],
    });
  });

  t.test('what cannot be run is refused with its remedy', async (t) => {
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
});

t.test('submit', async (t) => {
  t.test('prints the id alone for programs and the next step for people', async (t) => {
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

  t.test('--wait exits with the highest code and prints no output of tasks', async (t) => {
    const api = await fakeApi(t);
    api.change('template', finished(9));
    const session = new Session(api, { input: 'command: [align]' });
    t.equal(await session.run('submit', '--wait', '-'), 9);
    t.equal(session.stdout, 'j2\n');
    t.match(session.stderr, 'j2 failed (exit code 9)');
  });

  t.test('a broken file is refused with file, line and column', async (t) => {
    const api = await fakeApi(t);
    const file = join(t.testdir({ 'job.yaml': 'name: a\ncommand: [x]\nresources:\n  cpuz: 4\n' }), 'job.yaml');
    const session = new Session(api);
    t.equal(await session.run('submit', file), 64);
    t.match(session.stderr, `${file}:4:3 resources.cpuz`);
    t.match(session.stderr, /did you mean "cpus"/);
    t.same(api.seen, []);
  });

  t.test('the coordinator’s refusal is shown with its problems', async (t) => {
    const api = await fakeApi(t);
    api.refusesSubmission = {
      code: 'impossible-resources',
      detail: 'no node has 900 cpus',
      hint: 'ask for at most 64',
      problems: [{ field: 'resources.cpus', message: 'the largest node has 64' }],
    };
    const session = new Session(api, { input: 'command: [x]' });
    t.equal(await session.run('submit', '-'), 64);
    t.match(
      session.stderr,
      /no node could ever hold this\n {2}resources\.cpus: the largest node has 64\n {2}hint: ask/,
    );
  });
});

t.test('jobs are named by id, number, last, @name and unique prefix', async (t) => {
  const api = await fakeApi(t);
  for (const [id, name] of [
    ['j3', 'align'],
    ['j41', 'train'],
    ['j42', 'align'],
    ['j50', 'other'],
  ] as const) {
    api.change(id, { ...aJob(id), name });
  }
  const shown = async (selector: string): Promise<string> => {
    const session = new Session(api);
    const exitCode = await session.run('show', selector, '-o', 'name');
    return exitCode === 0 ? session.stdout.trim() : `${exitCode} ${session.stderr}`;
  };
  t.equal(await shown('j42'), 'j42');
  t.equal(await shown('42'), 'j42');
  t.equal(await shown('last'), 'j50');
  t.equal(await shown('@align'), 'j42', 'the newest of that name');
  t.equal(await shown('j5'), 'j50', 'the only one that begins so');
  t.equal(await shown('j3'), 'j3', 'a whole id is never a prefix');
  t.match(await shown('j4'), /^64 berth: "j4" is the beginning of several ids: j42, j41\n/);
  t.match(await shown('@algin'), /^64 berth: there is no job "@algin"\n {2}hint: did you mean @align\?/);
  t.match(await shown('train'), /did you mean @train\?/);
  t.match(await shown('j9'), /^64 berth: there is no job "j9"/);
  api.tasks.set('j42.7', aTask('j42.7'));
  api.tasks.set('j50.train.3', aTask('j50.train.3'));
  t.equal(await shown('@align.7'), 'j42.7');
  t.equal(await shown('last.train.3'), 'j50.train.3');
  const cancel = new Session(api);
  t.equal(await cancel.run('cancel', 'j42.7'), 64);
  t.match(cancel.stderr, /names a task; this command takes a job\n {2}hint: write j42/);
});

t.test('lists', async (t) => {
  const api = await fakeApi(t);
  api.change('j1', { ...aJob('j1'), name: 'old', ...finished(0) });
  api.change('j2', {
    ...aJob('j2'),
    name: 'größe',
    waitingReason: 'no node has 4 free GPUs, and the queue is long indeed',
  });
  api.change('j3', { ...aJob('j3'), ...finished(2) });

  t.test('ls shows newest first, with the reason why a job waits', async (t) => {
    const session = new Session(api);
    t.equal(await session.run('ls'), 0);
    const [head, ...rows] = session.stdout.trimEnd().split('\n');
    t.match(head, /^ID +NAME +STATE +DONE +EXIT +AGE +RAN +REASON$/);
    t.same(
      rows.map((row) => row.split(/\s+/).slice(0, 3)),
      [
        ['j3', 'job', 'failed'],
        ['j2', 'größe', 'running'],
        ['j1', 'old', 'succeeded'],
      ],
    );
    t.match(rows[1], 'no node has 4 free GPUs, and the queue is long indeed');
    t.notMatch(session.stdout, '\u001b');
  });

  t.test('on a terminal the last column is cut to the screen and states have colours, unless NO_COLOR', async (t) => {
    const colorful = new Session(api, { isTerminal: true });
    await colorful.run('ls');
    t.match(colorful.stdout, '\u001b[31mfailed');
    const plain = new Session(api, { isTerminal: true, config: { allowsColor: false } });
    await plain.run('ls');
    t.notMatch(plain.stdout, '\u001b');
    t.match(plain.stdout, '…');
    for (const line of plain.stdout.trimEnd().split('\n')) t.ok(displayWidth(line) <= 80, line);
  });

  t.test('every format says the same in its way', async (t) => {
    const inFormat = async (format: string): Promise<string> => {
      const session = new Session(api);
      t.equal(await session.run('ls', '--all', '-o', format), 0);
      return session.stdout;
    };
    const jobs = ['j3', 'j2', 'j1'].map((id) => api.jobs.get(id));
    t.same(JSON.parse(await inFormat('json')), { jobs, nextCursor: null });
    t.same(
      (await inFormat('jsonl'))
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
      jobs,
    );
    t.equal(await inFormat('name'), 'j3\nj2\nj1\n');
    t.match(await inFormat('wide'), /NAMESPACE/);
    const unknown = new Session(api);
    t.equal(await unknown.run('ls', '-o', 'xml'), 64);
  });

  t.test('show tells a task’s attempts, why tells its waiting', async (t) => {
    const attempt = {
      attempt: 1,
      allocationId: 'j2.0#1',
      node: 'n1',
      state: 'ended',
      end: { kind: 'signaled', signal: 'SIGKILL' },
      gpus: [0, 1],
      committedAt: '2026-11-30T12:00:00.000Z',
      startedAt: null,
      endedAt: null,
      ranMs: 61_000,
      output: { stdoutBytes: 5, stderrBytes: 0 },
    } as const;
    api.tasks.set('j2.0', aTask('j2.0', { attempts: [attempt] }));
    const show = new Session(api);
    t.equal(await show.run('show', 'j2.0'), 0);
    t.match(show.stdout, /j2\.0#1 +n1 +ended +0,1 +- +1m1s +5\+0B +killed by SIGKILL/);
    api.waiting.set('j2', {
      job: 'j2',
      phase: 'active',
      waiting: [{ step: 'main', tasks: '1-100', count: 100, reason: { code: 'no-gpu', message: 'no free GPU' } }],
    });
    const why = new Session(api);
    t.equal(await why.run('why', 'j2'), 0);
    t.match(why.stdout, /main +1-100 +100 +no free GPU/);
    const nothing = new Session(api);
    t.equal(await nothing.run('why', 'j1'), 0);
    t.equal(nothing.stdout, 'no task of j1 waits; it is finished\n');
  });
});

t.test('wait and control', async (t) => {
  const api = await fakeApi(t);
  api.change('j1', { ...aJob('j1'), ...finished(3) });
  api.change('j2', aJob('j2'));
  const waiting = new Session(api);
  const exit = waiting.run('wait', 'j1', 'j2');
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
    while (session.stdout === '') await new Promise((resolve) => setTimeout(resolve, 5));
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

t.test('nodes', async (t) => {
  const api = await fakeApi(t);
  api.nodes.set(
    'gpu-1',
    aNode('gpu-1', { gpus: [{ index: 0, uuid: 'u', model: 'A100', memoryMiB: 81920, allocationId: null }] }),
  );
  const run = async (...argv: string[]): Promise<string> => {
    const session = new Session(api);
    const exitCode = await session.run(...argv);
    return `${exitCode} ${session.stdout}${session.stderr}`;
  };
  t.match(await run('nodes'), /gpu-1 +ready +6\.5\/8 +16GiB\/16GiB/);
  t.match(await run('nodes', 'gpu-1'), /0 +A100 +80GiB/);
  t.match(await run('nodes', 'gpu-2'), /^64 berth: there is no node "gpu-2"\n {2}hint: did you mean gpu-1\?/);
  t.match(await run('drain', 'gpu-1'), /^64 berth: --reason is required/);
  t.match(await run('drain', 'gpu-1', '--reason', 'new disk', '--deadline', '2h'), '0 gpu-1 draining\n');
  t.same(api.seen.at(-1)?.body, { reason: 'new disk', deadlineMs: 7_200_000 });
  t.match(await run('drain', 'gpu-1', '--reason', 'new disk'), '0 gpu-1 draining\n');
  t.same(api.seen.at(-1)?.body, { reason: 'new disk', deadlineMs: null });
  t.match(await run('cordon', 'gpu-1', '--reason', 'noise'), '0 gpu-1 cordoned\n');
  t.match(await run('open', 'gpu-1'), '0 gpu-1 open\n');
  t.match(await run('remove-node', 'gpu-1'), '0 gpu-1 removed\n');
  t.equal(api.nodes.size, 0);
});

t.test('events end with the last known one, or go on', async (t) => {
  const api = await fakeApi(t);
  for (let seq = 1; seq <= 60; seq += 1) {
    const type = seq === 60 ? 'job.finished' : 'node.connected';
    api.events.push({ seq, at: '2026-11-30T12:00:00.000Z', type, ...{ jobId: 'j1' } });
  }
  const table = new Session(api);
  t.equal(await table.run('events', '--after', '58'), 0);
  t.match(table.stdout, /^ +59 .* node\.connected +jobId=j1\n +60 .* job\.finished +jobId=j1\n$/);
  const some = new Session(api);
  t.equal(await some.run('events', '--types', 'job.finished', '-o', 'json'), 0);
  t.match(JSON.parse(some.stdout), { events: [{ seq: 60 }] });
  const following = new Session(api);
  const running = following.run('events', '-f', '-o', 'name', '--after', '59');
  while (following.stdout === '') await new Promise((resolve) => setTimeout(resolve, 5));
  following.signal('SIGINT');
  t.equal(await running, 130);
  t.equal(following.stdout, '60\n');
});

t.test('the coordinator is found', async (t) => {
  const api = await fakeApi(t);
  const dir = t.testdir({ coordinator: {}, empty: {} });
  const inner = join(dir, 'coordinator');
  writeFileSync(join(inner, 'coordinator.json'), JSON.stringify({ url: api.url, pid: 1, startedAt: '' }));
  writeFileSync(join(inner, 'admin.token'), `${api.token}\n`);
  writeFileSync(join(dir, 'wrong.token'), 'other');
  mkdirSync(join(dir, 'broken'));
  writeFileSync(join(dir, 'broken', 'coordinator.json'), '{');
  const nothing = { url: undefined, token: undefined, defaultStateDirs: [join(dir, 'empty')] };
  const run = async (config: Partial<ClientConfig>): Promise<string> => {
    const session = new Session(api, { config: { ...nothing, ...config } });
    return `${await session.run('nodes')} ${session.stderr}`;
  };
  t.equal(await run({ stateDir: dir }), '0 ', 'by the folder of berth up');
  t.equal(await run({ stateDir: inner }), '0 ', 'by the coordinator’s own');
  t.equal(await run({ defaultStateDirs: [join(dir, 'empty'), dir] }), '0 ', 'in a default place');
  t.equal(await run({ url: `${api.url}/`, tokenFile: join(inner, 'admin.token') }), '0 ', 'by its address');
  t.match(
    await run({}),
    /^69 berth: no coordinator found: BERTH_URL is not set(.|\n)*hint: start one here with `berth up`/,
  );
  t.match(await run({ stateDir: join(dir, 'empty') }), /^69 berth: no coordinator found in BERTH_STATE_DIR=/);
  t.match(await run({ stateDir: join(dir, 'broken') }), /^69 berth: .*names no coordinator/);
  t.match(await run({ url: api.url }), /^77 berth: no token\n {2}hint: set BERTH_TOKEN/);
  t.match(
    await run({ url: api.url, tokenFile: join(dir, 'wrong.token') }),
    /^77 berth: the token is unknown\n.*wrong\.token/,
  );
  t.match(await run({ url: 'localhost:80', token: 'x' }), /^64 berth: BERTH_URL is no HTTP address/);
  t.match(
    await run({ url: 'http://127.0.0.1:1', token: 'x' }),
    /^69 berth: cannot reach the coordinator at http.*:1: nothing/,
  );
});

t.test('a terminal gets a progress line that leaves nothing behind', async (t) => {
  const api = await fakeApi(t);
  const counts = { blocked: 0, queued: 60, placed: 0, succeeded: 40, failed: 0, canceled: 0, dropped: 0 };
  api.change('template', { taskCount: 100, counts, waitingReason: 'all nodes are busy' });
  const session = new Session(api, { isTerminal: true });
  const running = session.run('run', '--array', '1-100', '--', 'work');
  while (!session.stderr.includes('40/100')) await new Promise((resolve) => setTimeout(resolve, 10));
  t.match(session.stderr, '████████░░░░░░░░░░░░ 40/100  60 queued, 40 succeeded');
  api.change('j2', finished(0));
  t.equal(await running, 0);
  t.match(session.stderr, /\u001b\[2K[^█]*$/, 'the line is erased');
  t.notMatch(session.stdout, '█');
});

t.test('text fits its columns without breaking a character', async (t) => {
  const rows: readonly [string, number, string][] = [
    ['plain', 5, 'plain'],
    ['plainer', 5, 'plai…'],
    ['日本語', 6, '日本語'],
    ['日本語', 5, '日本…'],
    ['日本語', 4, '日…'],
    ['👩‍👩‍👧 family', 4, '👩‍👩‍👧 …'],
    ['e\u0301te\u0301', 3, 'e\u0301te\u0301'],
  ];
  for (const [text, columns, shown] of rows) {
    t.equal(truncate(text, columns), shown);
    t.ok(displayWidth(truncate(text, columns)) <= columns);
  }
  t.same([0, 999, 61_000, 3_600_000, 90_061_000].map(roughDuration), ['0s', '0s', '1m1s', '1h', '1d1h']);
});

t.test('the program explains itself', async (t) => {
  const api = await fakeApi(t);
  const version = new Session(api);
  t.equal(await version.run('version'), 0);
  t.equal(version.stdout, `berth ${VERSION}\n`);
  const schema = new Session(api);
  t.equal(await schema.run('schema'), 0);
  t.match(JSON.parse(schema.stdout), { $schema: /2020-12/ });
  for (const command of ['run', 'submit', 'ls', 'logs', 'wait', 'drain', 'events', 'up']) {
    const help = new Session(api);
    t.equal(await help.run(command, '--help'), 0);
    t.match(help.stdout, new RegExp(`Examples:\n {2}\\$ berth ${command}`), command);
  }
  t.same(api.seen, []);
});
