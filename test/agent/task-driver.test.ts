import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type ProcessEntry, ProcessTableReader } from '../../agent/driver/process/process-table.js';
import { systemClock } from '../../shared/clock.js';
import type { AllocationId } from '../../shared/ids.js';
import { type DriverBench, taskDriverConformance, Watched } from '../conformance/task-driver.js';
import { FakeMachine } from '../fakes/fake-driver.js';
import { gpus } from '../kit/builders.js';
import { type ProcessBench, plain, processBench } from '../kit/process-bench.js';
import { until } from '../kit/until.js';

const id = 'j1.0#1' as AllocationId;

// A driver keeps no process alive by itself.
const keepAlive = setInterval(() => {}, 60_000);
t.teardown(() => clearInterval(keepAlive));

t.test('the fake driver', async (t) => taskDriverConformance(t, fakeBench));
t.test('the process driver', async (t) => taskDriverConformance(t, (t) => processBench(t)));

function fakeBench(): DriverBench {
  const machine = new FakeMachine(systemClock);
  return {
    factory: machine.driver(),
    startCount: (id) => machine.startCounts.get(id) ?? 0,
    outputByte: (offset) => 97 + (offset % 26),
    order: (id, { runMs, exit, outputBytes, ignoresTerm, workdir }) => {
      const env: Record<string, string> = { SIM_RUN_MS: String(runMs ?? 1), SIM_EXIT: String(exit ?? 0) };
      if (outputBytes) env.SIM_OUTPUT_BYTES = String(outputBytes);
      if (ignoresTerm) env.SIM_IGNORE_TERM = '1';
      return plain(id, { env, workdir: workdir ?? null });
    },
  };
}

async function withDriver(t: Test): Promise<ProcessBench & { readonly watched: Watched }> {
  const bench = processBench(t);
  const watched = await Watched.open(bench.factory);
  t.teardown(() => watched.driver.close());
  await watched.driver.recover([]);
  return { ...bench, watched };
}

async function outputOf(watched: Watched, id: AllocationId, stream: 'stdout' | 'stderr' = 'stdout'): Promise<string> {
  return Buffer.from(await watched.driver.read(id, stream, 0, 1_000_000)).toString();
}

/** Living processes whose command line holds the word. */
function processesWith(word: string): ProcessEntry[] {
  const table = new ProcessTableReader(() => false).fresh(0);
  return [...table.values()].filter((entry) => {
    try {
      return !entry.isZombie && readFileSync(`/proc/${entry.pid}/cmdline`, 'latin1').includes(word);
    } catch {
      return false;
    }
  });
}

t.test('a task sees its own environment, directory and devices, and nothing of the agent', async (t) => {
  process.env.BERTH_SECRET = 'of the agent';
  t.teardown(() => delete process.env.BERTH_SECRET);
  const { watched, shell, folder } = await withDriver(t);
  const env = { GREETING: "it's\n$HOME `x`", 'odd-name': 'kept', OPTIND: 'x', PATH: '/bin:/usr/bin' };
  const run = { kind: 'command', argv: ['env', '-0'] } as const;
  const resources = { cpuMillis: 1_500, memoryMiB: 64, diskMiB: 0 };
  await watched.driver.start(plain(id, { run, env, resources, gpus: gpus(2) }));
  t.match((await watched.ended(id)).end, { kind: 'exited', exitCode: 0 });
  const variables = (await outputOf(watched, id)).split('\0').slice(0, -1);
  const seen = Object.fromEntries(variables.map((variable) => variable.split(/=([\s\S]*)/, 2)));
  t.match(seen, {
    ...env,
    PWD: new RegExp(`^${folder}/state/current/`),
    HOME: '/root',
    BERTH_ALLOCATION_ID: id,
    BERTH_JOB_ID: 'j1',
    BERTH_JOB_NAME: 'align',
    BERTH_TASK_ID: 'j1.train.0',
    BERTH_TASK_INDEX: '0',
    BERTH_TASK_COUNT: '3',
    BERTH_STEP: 'train',
    BERTH_ATTEMPT: '1',
    BERTH_NODE: 'n1',
    BERTH_CPUS: '1.5',
    BERTH_MEMORY_MIB: '64',
    CUDA_VISIBLE_DEVICES: 'GPU-0,GPU-1',
  });
  t.notOk('BERTH_SECRET' in seen);
  const none = 'j2.0#1' as AllocationId;
  await watched.driver.start(shell(none, 'echo "[$CUDA_VISIBLE_DEVICES]"; cat; cat /proc/self/comm'));
  await watched.ended(none);
  t.equal(await outputOf(watched, none), '[]\ncat\n', 'no device, and an empty stdin');
});

t.test('a part of a GPU comes with its budget, in the words of frameworks that can keep to one', async (t) => {
  const { watched, shell } = await withDriver(t);
  const id = 'j1.0#1' as AllocationId;
  const slice = { index: 1_070, uuid: 'MIG-0f0f', model: 'X', memoryMiB: 4_864, mig: '1g.5gb' };
  const part = { gpus: [slice], gpuPart: { shareMillis: 250, memoryMiB: 1_216 } };
  const command = `env | grep -E '^(CUDA|BERTH_GPU|XLA|TF_)' | sort`;
  await watched.driver.start(shell(id, command, { ...part, env: { TF_FORCE_GPU_ALLOW_GROWTH: 'false' } }));
  await watched.ended(id);
  t.strictSame((await outputOf(watched, id)).trim().split('\n'), [
    'BERTH_GPU_MEMORY_MIB=1216',
    'BERTH_GPU_SHARE=0.25',
    'CUDA_MPS_ACTIVE_THREAD_PERCENTAGE=25',
    'CUDA_MPS_PINNED_DEVICE_MEM_LIMIT=0=1216M',
    'CUDA_VISIBLE_DEVICES=MIG-0f0f',
    'TF_FORCE_GPU_ALLOW_GROWTH=false',
    'XLA_PYTHON_CLIENT_MEM_FRACTION=0.225',
  ]);
});

t.test('commands that cannot run end with the statuses that shells have', async (t) => {
  const { watched, folder } = await withDriver(t);
  const cases: readonly [string, readonly string[], number][] = [
    ['j1.0#1', ['no-such-program'], 127],
    ['j2.0#1', ['/etc/passwd'], 126],
    ['j3.0#1', [join(folder, 'nowhere', 'x')], 127],
    ['j4.0#1', ['printf', '%s|', '-n', "a'b", '$x', 'ö', ''], 0],
  ];
  for (const [name, argv, exitCode] of cases) {
    const id = name as AllocationId;
    await watched.driver.start(plain(id, { run: { kind: 'command', argv } }));
    t.match((await watched.ended(id)).end, { kind: 'exited', exitCode }, argv.join(' '));
  }
  t.equal(await outputOf(watched, 'j4.0#1' as AllocationId), "-n|a'b|$x|ö||");
  t.match(await outputOf(watched, 'j1.0#1' as AllocationId, 'stderr'), /no-such-program: not found/);
});

t.test('a script runs by its first line, or with sh when it has none', async (t) => {
  const { watched } = await withDriver(t);
  const scripts = ['#!/usr/bin/awk -f\nBEGIN { print "awk" }\n', 'echo "sh $1"\n'];
  for (const [index, script] of scripts.entries()) {
    const id = `j${index}.0#1` as AllocationId;
    await watched.driver.start(
      plain(id, { run: { kind: 'script', script, args: index === 0 ? [] : ['with an argument'] } }),
    );
    t.match((await watched.ended(id)).end, { kind: 'exited', exitCode: 0 });
  }
  t.equal(await outputOf(watched, 'j0.0#1' as AllocationId), 'awk\n');
  t.equal(await outputOf(watched, 'j1.0#1' as AllocationId), 'sh with an argument\n');
});

t.test('a kill takes the whole tree: daemons, other sessions, and who ignores signals', async (t) => {
  const { watched, shell } = await withDriver(t);
  const word = `3${process.pid}.25`;
  const script = `
    (setsid sh -c 'sleep ${word} & sleep ${word}' &)
    setsid env -i /bin/sh -c 'sleep ${word}; :' &
    (trap '' TERM; sleep ${word}; sleep ${word}) &
    trap '' TERM
    sleep ${word}
    sleep ${word}`;
  await watched.driver.start(shell(id, script));
  await until('the tree stands', () => processesWith(`sleep\0${word}`).length === 5);
  await watched.driver.signal(id, 'SIGTERM');
  t.notOk(watched.events.some((event) => event.kind === 'ended'));
  await watched.driver.signal(id, 'SIGKILL');
  t.strictSame(processesWith(`sleep\0${word}`), []);
  t.match((await watched.ended(id)).end, { kind: 'signaled', signal: 'SIGKILL' });
});

t.test('an end is told when nothing that the command started is left', async (t) => {
  const { watched, shell } = await withDriver(t);
  const word = `4${process.pid}.25`;
  await watched.driver.start(shell(id, `sleep ${word} & (setsid sleep ${word} &) ; sleep 0.1; exit 5`));
  t.match((await watched.ended(id)).end, { kind: 'exited', exitCode: 5 });
  t.strictSame(processesWith(`sleep\0${word}`), []);
});

t.test('what escapes from a task writes into no later task of the same place', async (t) => {
  const { watched, shell, folder } = await withDriver(t);
  const word = `6${process.pid}.25`;
  const go = join(folder, 'go');
  // Own session, empty environment, no parent: nothing tells where it came from.
  const escapee = `until [ -e "$0" ]; do sleep 0.02; done; echo stolen; sleep ${word}`;
  const order = shell(id, `setsid env -i /bin/sh -c '${escapee}' ${go} & sleep 0.05`);
  await watched.driver.start(order);
  await watched.ended(id);
  await watched.driver.remove(id);
  t.teardown(() => {
    for (const { pid } of processesWith(`sleep\0${word}`)) process.kill(pid, 'SIGKILL');
  });
  const others = ['j2.0#1', 'j3.0#1'] as AllocationId[];
  for (const other of others) await watched.driver.start(shell(other, `until [ -e ${go}.done ]; do sleep 0.02; done`));
  writeFileSync(go, '');
  await until('it has written', () => processesWith(`sleep\0${word}`).length === 1);
  writeFileSync(`${go}.done`, '');
  for (const other of others) t.same((await watched.ended(other)).output, { stdoutBytes: 0, stderrBytes: 0 });
});

t.test('a command that kills its whole process group harms no other, and is seen as killed', async (t) => {
  const { watched, shell } = await withDriver(t);
  const other = 'j2.0#1' as AllocationId;
  await watched.driver.start(shell(other, 'sleep 0.4; exit 6'));
  await watched.driver.start(shell(id, 'kill -9 0; sleep 60'));
  t.match((await watched.ended(id)).end, { kind: 'signaled', signal: 'SIGKILL' });
  t.match((await watched.ended(other)).end, { kind: 'exited', exitCode: 6 });
  const third = 'j3.0#1' as AllocationId;
  await watched.driver.start(shell(third, 'kill -TERM 0; sleep 60'));
  t.match((await watched.ended(third)).end, { kind: 'signaled', signal: 'SIGTERM' });
});

t.test('an attempt whose watcher was killed without a driver is lost, and its processes are ended', async (t) => {
  const { watched, shell, factory } = await withDriver(t);
  const word = `5${process.pid}.25`;
  await watched.driver.start(shell(id, `setsid sleep ${word} & sleep ${word}`));
  await until('it runs', () => processesWith(`sleep\0${word}`).length === 2);
  await watched.driver.close();
  const sessions = new Set(processesWith(`sleep\0${word}`).map((entry) => entry.session));
  const watchers = () => processesWith('worker.sh').filter((entry) => sessions.has(entry.pid));
  t.equal(watchers().length, 1);
  for (const watcher of watchers()) process.kill(watcher.pid, 'SIGKILL');
  await until('the watcher is gone', () => watchers().length === 0);
  const next = await Watched.open(factory);
  t.teardown(() => next.driver.close());
  t.match((await next.driver.recover([id])).get(id), { kind: 'ended', end: { kind: 'lost' } });
  t.strictSame(processesWith(`sleep\0${word}`), []);
});

t.test('a later driver tells the ends, the output and the files of attempts of one place apart', async (t) => {
  const { watched, shell, folder, factory } = await withDriver(t);
  const ids = ['j1.0#1', 'j2.0#1', 'j3.0#1'] as AllocationId[];
  const scripts = ['exit 137', 'kill -9 $$', 'sleep 0.2; echo text; echo kept > file; kill -9 $$'];
  for (const [at, id] of ids.entries()) {
    await watched.driver.start(shell(id, scripts[at] ?? ''));
    if (at < 2) await watched.ended(id);
    else await watched.started(id);
  }
  await watched.driver.close();
  const [ledger = ''] = readdirSync(join(folder, 'state', 'ledger'));
  const text = () => readFileSync(join(folder, 'state', 'ledger', ledger), 'utf8');
  await until('the last one has ended', () => text().includes('exit j3.0#1'));
  const next = await Watched.open(factory);
  t.teardown(() => next.driver.close());
  const recoveries = await next.driver.recover(ids);
  t.match(
    ids.map((id) => recoveries.get(id)),
    [
      { end: { kind: 'exited', exitCode: 137 }, output: { stdoutBytes: 0, stderrBytes: 0 } },
      { end: { kind: 'signaled', signal: 'SIGKILL' }, output: { stdoutBytes: 0 } },
      { end: { kind: 'signaled', signal: 'SIGKILL' }, output: { stdoutBytes: 5 } },
    ],
  );
  t.equal(await outputOf(next, 'j3.0#1' as AllocationId), 'text\n');
  // While processes of unknown origin run on this machine, empty folders are put by as well: no later task shares one.
  const kept = readdirSync(join(folder, 'state', 'work'), { recursive: true });
  t.strictSame(
    kept.filter((path) => !ids.slice(0, 2).includes(path as AllocationId)),
    ['j3.0#1', 'j3.0#1/file'],
  );
});

t.test('output that is asked for by its path while its task runs keeps that path', async (t) => {
  const { watched, shell, folder } = await withDriver(t);
  const go = join(folder, 'go');
  await watched.driver.start(shell(id, `echo text; until [ -e ${go} ]; do sleep 0.02; done; echo more`));
  await watched.started(id);
  await until('it has written', async () => (await outputOf(watched, id)) === 'text\n');
  const path = watched.driver.output?.outputFile(id, 'stdout') ?? '';
  t.equal(readFileSync(path, 'utf8'), 'text\n');
  t.equal(await outputOf(watched, id), 'text\n');
  writeFileSync(go, '');
  t.match(await watched.ended(id), { output: { stdoutBytes: 10, stderrBytes: 0 } });
  const next = 'j2.0#1' as AllocationId;
  await watched.driver.start(shell(next, ':'));
  t.match(await watched.ended(next), { output: { stdoutBytes: 0, stderrBytes: 0 } });
  t.equal(readFileSync(path, 'utf8'), 'text\nmore\n');
});

t.test('an end tells the CPU time of its own command, also to a driver that finds it', async (t) => {
  const { watched, shell, factory } = await withDriver(t);
  const next = 'j2.0#1' as AllocationId;
  await watched.driver.start(shell(id, 'i=0; while [ $i -lt 500000 ]; do i=$((i+1)); done; times'));
  await watched.ended(id);
  const [, user = '', system = ''] = /^0m([\d.]+)s 0m([\d.]+)s$/m.exec(await outputOf(watched, id)) ?? [];
  const ownMs = (Number(user) + Number(system)) * 1_000;
  t.ok(ownMs > 0, 'it took some');
  const told = watched.events.flatMap((event) => (event.kind === 'ended' ? [event.usage?.cpuMs ?? 0] : []));
  t.ok(Math.abs((told[0] ?? 0) - ownMs) < ownMs / 2, `${told[0]} ms, of which the command knew ${ownMs}`);
  // Its worker is the same.
  await watched.driver.start(shell(next, ':'));
  await watched.ended(next);
  await watched.driver.close();
  const later = await Watched.open(factory);
  t.teardown(() => later.driver.close());
  const recoveries = await later.driver.recover([id, next]);
  t.match(recoveries.get(id), { kind: 'ended', usage: { cpuMs: told[0] } });
  const short = recoveries.get(next);
  t.ok(short?.kind === 'ended' && (short.usage?.cpuMs ?? 0) < ownMs / 2, 'what was before is not counted again');
});

t.test('after a reboot, what is not known to have ended is lost', async (t) => {
  let boot = 1;
  const bench = processBench(t, { bootId: () => `boot-${boot}` });
  const watched = await Watched.open(bench.factory);
  await watched.driver.recover([]);
  await watched.driver.start(bench.shell(id, 'exit 3'));
  const running = 'j2.0#1' as AllocationId;
  await watched.driver.start(bench.shell(running, 'sleep 60'));
  await watched.ended(id);
  await watched.started(running);
  await watched.driver.signal(running, 'SIGKILL');
  await watched.driver.close();
  boot = 2;
  const next = await Watched.open(bench.factory);
  t.teardown(() => next.driver.close());
  const never = 'j3.0#1' as AllocationId;
  const recoveries = await next.driver.recover([id, never]);
  t.match(recoveries.get(id), { kind: 'ended', end: { kind: 'exited', exitCode: 3 } });
  t.match(recoveries.get(never), { kind: 'ended', end: { kind: 'lost', message: 'the node rebooted' } });
});

t.test('nothing of removed attempts is left on disk, and empty files serve again', async (t) => {
  const { watched, shell, folder, factory } = await withDriver(t);
  for (let round = 0; round < 5; round += 1) {
    const id = `j${round}.0#1` as AllocationId;
    await watched.driver.start(shell(id, round === 2 ? 'echo text; echo kept > file; mkdir -p a/b' : 'ls -A; :'));
    await watched.ended(id);
    t.equal(await outputOf(watched, id), round === 2 ? 'text\n' : '', 'a fresh directory and a fresh output');
    await watched.driver.remove(id);
  }
  const left = (name: string) => readdirSync(join(folder, 'state', name));
  for (const name of ['output', 'work', 'scripts']) t.strictSame(left(name), [], `nothing has its name: ${name}`);
  for (const name of left('current')) {
    const path = join(folder, 'state', 'current', name);
    if (statSync(path).isDirectory()) t.strictSame(readdirSync(path), [], 'a directory that serves again is empty');
    else t.equal(statSync(path).size, 0, 'and so is a file');
  }
  await watched.driver.close();
  const next = await Watched.open(factory);
  await next.driver.recover([]);
  for (const name of ['current', 'output', 'work', 'scripts', 'ledger'])
    t.strictSame(left(name), [], `a later driver clears: ${name}`);
  t.ok(existsSync(join(folder, 'state')));
  await next.driver.close();
});
