import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { ClientConfig } from '../../coordinator/view/config.js';
import { displayWidth, truncate } from '../../coordinator/view/format/text.js';
import { roughDuration } from '../../shared/units.js';
import { VERSION } from '../../shared/version.js';
import { aJob, aNode, aTask, finished } from '../fakes/fake-api.js';
import { fakeApi, Session } from '../kit/client-session.js';
import { until } from '../kit/until.js';

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
});

t.test('show tells a task’s attempts, why tells its waiting', async (t) => {
  const api = await fakeApi(t);
  api.change('j1', { ...aJob('j1'), ...finished(0) });
  api.change('j2', aJob('j2'));
  const attempt = {
    attempt: 1,
    allocationId: 'j2.0#1',
    node: 'n1',
    state: 'ended',
    end: { kind: 'signaled', signal: 'SIGKILL' },
    gpus: [0, 1],
    queuedMs: 2_500,
    committedAt: '2026-11-30T12:00:00.000Z',
    startedAt: null,
    endedAt: null,
    ranMs: 61_000,
    output: { stdoutBytes: 5, stderrBytes: 0 },
    image: 'lab/x@sha256:0123456789abcdef',
    usage: { cpuMs: 59_000, peakMemoryBytes: 1_572_864, startedMs: 4, writtenBytes: 512 },
  } as const;
  api.tasks.set('j2.0', aTask('j2.0', { attempts: [attempt] }));
  const show = new Session(api);
  t.equal(await show.run('show', 'j2.0'), 0);
  t.match(show.stdout, /j2\.0#1 +n1 +ended +0,1 +- +1m1s +5\+0B +lab\/x@sha256:0123456789ab +killed by SIGKILL/);
  t.match(show.stdout, /j2\.0#1 +2\.5s +- +- +4ms +1m1s +- +59s +1\.5MiB +- +512B/);
  const nodeClasses = [
    { example: 'n1', nodeCount: 3, state: 'busy', message: 'needs 2 CPUs (1 free)' },
    { example: 'g1', nodeCount: 1, state: 'away', message: 'is drained' },
  ];
  const reason = { code: 'capacity', message: 'no free GPU', details: { nodeClasses, nodeClassCount: 4 } };
  api.waiting.set('j2', {
    job: 'j2',
    phase: 'active',
    waiting: [{ step: 'main', tasks: '1-100', count: 100, reason }],
    routes: [],
  });
  const why = new Session(api);
  t.equal(await why.run('why', 'j2'), 0);
  t.match(why.stdout, /main +1-100 +100 +no free GPU/);
  const kinds = '  n1 and 2 like it: needs 2 CPUs (1 free)\n  g1: is drained\n  and 2 more kinds\n';
  t.ok(why.stdout.endsWith(`\nWhat keeps main from each kind of node:\n${kinds}`), why.stdout);
  const nothing = new Session(api);
  t.equal(await nothing.run('why', 'j1'), 0);
  t.equal(nothing.stdout, 'no task of j1 waits; it is finished\n');
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
  const draining = { state: 'draining', intake: 'draining', reason: 'new disk', allocations: 2 };
  api.nodes.set('gpu-1', aNode('gpu-1', { ...draining, deadlineAt: '2026-11-30T14:03:59.000Z' }));
  const at = new Date('2026-11-30T14:03:59.000Z').toTimeString().slice(0, 5);
  t.match(await run('nodes'), new RegExp(`gpu-1 +draining until (2026-11-30 )?${at}, 2 tasks left .*new disk`));
  t.match(await run('nodes', 'gpu-1'), new RegExp(`Deadline +2026-11-30 ${at}:59, 2 tasks left`));
  t.match(await run('drain', 'gpu-1', '--reason', 'x', '--timeout', '1s'), /^64 berth: --timeout is of --wait/);
  t.match(await run('remove-node', 'gpu-1'), '0 gpu-1 removed\n');
  t.equal(api.nodes.size, 0);
});

t.test('drain --wait says what is left, and ends with the node empty, the time limit or the drain', async (t) => {
  const api = await fakeApi(t);
  const waiting = async (...argv: string[]) => {
    api.nodes.set('n1', aNode('n1', { allocations: 1, running: ['j1.0#1'] }));
    const session = new Session(api);
    const exit = session.run('drain', 'n1', '--reason', 'new disk', '--wait', ...argv);
    return { session, exit };
  };
  const emptied = await waiting();
  await until('it is told', () => emptied.session.stderr.includes('n1 is draining, 1 task left (j1.0#1)'));
  api.nodes.set('n1', aNode('n1', { state: 'drained', intake: 'drained', allocations: 0 }));
  t.equal(await emptied.exit, 0);
  t.equal(emptied.session.stdout, 'n1 draining\nn1 drained\n');
  const limited = await waiting('--timeout', '10ms');
  t.equal(await limited.exit, 124);
  const ended = await waiting();
  await until('it is told', () => ended.session.stderr.includes('1 task left'));
  api.nodes.set('n1', aNode('n1'));
  t.equal(await ended.exit, 64);
  t.match(ended.session.stderr, /n1 is open: somebody has ended its drain/);
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
  await following.prints('60');
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
  for (const command of ['run', 'submit', 'plan', 'when', 'ls', 'logs', 'wait', 'drain', 'events', 'up']) {
    const help = new Session(api);
    t.equal(await help.run(command, '--help'), 0);
    t.match(help.stdout, new RegExp(`Examples:\n {2}\\$ berth ${command}`), command);
  }
  t.same(api.seen, []);
});
