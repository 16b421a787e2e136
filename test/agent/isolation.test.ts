import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { Cgroup } from '../../agent/driver/process/cgroup.js';
import { type CgroupHome, findCgroupHome } from '../../agent/driver/process/cgroup-home.js';
import { type IsolationPlan, planIsolation } from '../../agent/driver/process/isolation.js';
import { SecretFolder } from '../../agent/driver/secret-folder.js';
import type { AllocationId } from '../../shared/ids.js';
import type { StartOrder } from '../../shared/wire/messages.js';
import { taskDriverConformance } from '../conformance/task-driver.js';
import { cellGroups, membersOf } from '../kit/cells.js';
import { isolatedDriver, isolationBench, outputOf } from '../kit/isolation-bench.js';
import type { ProcessBench } from '../kit/process-bench.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { until } from '../kit/until.js';

const id = 'j1.0#1' as AllocationId;
const neighbour = 'j2.0#1' as AllocationId;
const MAX_PROCESSES = 40;
const SMALL = { resources: { cpuMillis: 500, memoryMiB: 48, diskMiB: 0 } };

t.setTimeout(300_000);
const keepAlive = setInterval(() => {}, 60_000);
t.teardown(() => clearInterval(keepAlive));

const wish = { userName: 'nobody', allowedUsers: ['daemon'], maxProcesses: MAX_PROCESSES };
const full = await planIsolation({ ...wish, isolation: null });
const isHere = full.kind === 'full';
// Continuous integration runs as root; elsewhere it may be impossible.
if (!isHere && process.env.CI === 'true') t.fail('this machine cannot isolate tasks');
const groups: IsolationPlan = full.kind === 'full' ? { ...full, kind: 'cgroup' } : full;
const skip = isHere ? false : 'it takes root, control groups and namespaces';

/** Processes in the cells of this bench. */
function inCells({ folder }: ProcessBench): number[] {
  return membersOf(cellGroups(join(folder, 'state')));
}

t.test('the isolated process driver', { skip }, async (t) => taskDriverConformance(t, (t) => isolationBench(t, full)));
t.test('the process driver with control groups alone', { skip }, async (t) =>
  taskDriverConformance(t, (t) => isolationBench(t, groups)),
);

t.test('an isolated task has its own user, /tmp and view of processes, and no privileges', { skip }, async (t) => {
  const { watched, shell, folder } = await isolatedDriver(t, full);
  const script = `id -un; id -G; pwd; echo "$HOME $TMPDIR $USER"; ls -A /tmp /dev/shm; ps -e -o pid= | wc -l
    grep -E 'NoNewPrivs|CapEff' /proc/self/status | tr '\\t' ' '
    ls ${folder}/state 2>/dev/null || echo hidden; echo again >/dev/stderr; cat /proc/1/environ 2>/dev/null | wc -c; umask`;
  await watched.driver.start(shell(id, script));
  t.match((await watched.ended(id)).end, { kind: 'exited', exitCode: 0 });
  const home = `/tmp/${id}`;
  const expected = ['nobody', '65534', home, `${home} /tmp nobody`, '/dev/shm:', '', '/tmp:', id, /^[3-6]$/];
  const lines = (await outputOf(watched, id)).trimEnd().split('\n');
  t.match(lines, [...expected, /CapEff: 0+$/, 'NoNewPrivs: 1', 'hidden', '0', '0022']);
  t.equal(Buffer.from(await watched.driver.read(id, 'stderr', 0, 100)).toString(), 'again\n');
});

t.test('a task runs as the user that it names where its node allows that, and nowhere else', { skip }, async (t) => {
  const { watched, shell } = await isolatedDriver(t, full);
  await watched.driver.start(shell(id, 'id -un; id -gn; echo $HOME; touch $HOME/mine', { user: 'daemon' }));
  t.match((await watched.ended(id)).end, { kind: 'exited', exitCode: 0 });
  t.equal(await outputOf(watched, id), `daemon\ndaemon\n/tmp/${id}\n`);
  await watched.driver.start(shell(neighbour, 'id -un', { user: 'bin' }));
  t.match((await watched.ended(neighbour)).end, { kind: 'rejected', message: /--allow-user bin/ });
});

t.test("a workspace in the agent's own folder is the task's, and nothing beside it", { skip }, async (t) => {
  const { watched, shell, folder } = await isolatedDriver(t, full);
  const work = join(folder, 'staging', 'work');
  mkdirSync(work, { recursive: true });
  writeFileSync(join(work, 'input'), 'given', { mode: 0o600 });
  chmodSync(folder, 0o700);
  const home = `/tmp/${id}`;
  const mount = { kind: 'folder', source: work, target: home, readOnly: false } as const;
  const staged = { workdir: home, env: { BERTH_WORKSPACE: home }, mounts: [mount] };
  await watched.driver.start(shell(id, 'cat input; echo made > output; ls -A /tmp; echo $BERTH_WORKSPACE', staged));
  t.match((await watched.ended(id)).end, { kind: 'exited', exitCode: 0 });
  t.equal(await outputOf(watched, id), `given${id}\n/tmp/${id}\n`);
  await watched.driver.remove(id);
  t.equal(readFileSync(join(work, 'output'), 'utf8'), 'made\n', 'what it made is kept outside');
});

t.test('secrets reach an isolated task, and no other', { skip }, async (t) => {
  const root = mkdtempSync('/dev/shm/berth-test-');
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  const { watched, shell } = await isolatedDriver(t, full, new SecretFolder(join(root, 'process')));
  const value = Buffer.from("it's\nsecret");
  const secrets = [
    { name: 'a', file: 'key', value },
    { name: 'b', env: 'LD_PRELOAD', value },
    { name: 'c', env: 'WORD', value },
  ];
  const script = 'cat "$BERTH_SECRETS_DIR/key"; echo "[$WORD]"; ls -A /dev/shm; tr "\\0" "\\n" < /proc/1/environ';
  await watched.driver.start(shell(id, script, { secrets }));
  t.match((await watched.ended(id)).end, { kind: 'exited' });
  t.equal(await outputOf(watched, id), "it's\nsecret[it's\nsecret]\n");
  await watched.driver.start(shell(neighbour, 'ls -A /tmp; echo "[$WORD$BERTH_SECRETS_DIR]"'));
  await watched.ended(neighbour);
  t.equal(await outputOf(watched, neighbour), `${neighbour}\n[]\n`);
});

t.test("a job's variables cannot reach what runs before its privileges are dropped", { skip }, async (t) => {
  const { watched, folder, shell } = await isolatedDriver(t, full);
  const env = { LD_PRELOAD: `${folder}/evil.so`, GREETING: 'hello' };
  await watched.driver.start(shell(id, 'echo "$GREETING $LD_PRELOAD"', { env }));
  await watched.ended(id);
  t.equal(await outputOf(watched, id), `hello ${folder}/evil.so\n`);
  const complaints = Buffer.from(await watched.driver.read(id, 'stderr', 0, 10_000)).toString();
  t.notMatch(complaints, /setpriv/, 'the program that drops them was not given it');
});

t.test('attempts find nothing of one another', { skip }, async (t) => {
  const { watched, shell } = await isolatedDriver(t, full);
  const traces = [
    'echo x > /tmp/trace',
    'echo x > /dev/shm/trace',
    'ipcmk -M 100 >/dev/null',
    'echo x > $HOME/file',
    ':',
  ];
  for (const [index, trace] of traces.entries()) {
    const id = `j${index}.0#1` as AllocationId;
    await watched.driver.start(shell(id, `ls -A /tmp /dev/shm $HOME; ipcs -m | grep -c 0x; ${trace}`));
    await watched.ended(id);
    const home = `/tmp/${id}`;
    t.equal(await outputOf(watched, id), `/dev/shm:\n\n/tmp:\n${id}\n\n${home}:\n0\n`, `before: ${trace}`);
    await watched.driver.remove(id);
  }
});

interface Hostile {
  readonly script: string;
  readonly parts?: Partial<StartOrder>;
  /** Ends by itself; otherwise it is stopped. */
  readonly endsWith?: object;
}

const HOSTILE: Readonly<Record<string, Hostile>> = {
  'a fork bomb': { script: 'bomb() { bomb | bomb & }; bomb & exec sleep 60' },
  'a memory bomb': {
    script: `exec awk 'BEGIN { x = "x"; while (1) x = x x }'`,
    endsWith: { kind: 'signaled', signal: 'SIGKILL', oom: true },
  },
  'kill -9 -1': { script: 'kill -9 -1; exit 7', endsWith: { kind: 'exited', exitCode: 7 } },
  'daemons in sessions of their own': {
    script: `for i in 1 2 3; do setsid -f env -i /bin/sh -c "trap '' TERM HUP; while :; do sleep 1; done"; done; sleep 60`,
  },
};
/** The most that it may take from SIGKILL until nothing is left. */
const CLEAN_MS = 1_000;

for (const [title, { script, parts = {}, endsWith }] of Object.entries(HOSTILE)) {
  t.test(`${title} is contained and cleaned up, and its neighbour finishes`, { skip }, async (t) => {
    const own = await isolatedDriver(t, full);
    const { watched, shell } = own;
    await watched.driver.start(shell(neighbour, 'sleep 1; exit 6'));
    await watched.driver.start(shell(id, script, { ...SMALL, ...parts }));
    await watched.started(id);
    if (endsWith === undefined) {
      await new Promise((resolve) => setTimeout(resolve, 300));
      t.ok(inCells(own).length <= MAX_PROCESSES + 8, 'it has no more processes than it may');
      const killedAt = performance.now();
      await watched.driver.signal(id, 'SIGKILL');
      t.ok(performance.now() - killedAt < CLEAN_MS, 'within a second of its grace');
    }
    t.match((await watched.ended(id)).end, endsWith ?? { kind: 'signaled', signal: 'SIGKILL' });
    t.match((await watched.ended(neighbour)).end, { kind: 'exited', exitCode: 6 });
    await watched.driver.remove(id);
    await until('only idle workers are left', () => inCells(own).length <= 4);
  });
}

t.test('an end tells CPU time, peak memory and bytes written', { skip }, async (t) => {
  const { watched, shell } = await isolatedDriver(t, full);
  const script = `i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; head -c 20M /dev/zero | tail -c 20M >/dev/null`;
  await watched.driver.start(shell(id, script));
  await watched.ended(id);
  const event = watched.events.find((event) => event.kind === 'ended');
  const usage = event?.kind === 'ended' ? (event.usage ?? {}) : {};
  t.ok((usage.cpuMs ?? 0) > 10, `CPU ${usage.cpuMs}ms`);
  t.ok((usage.peakMemoryBytes ?? 0) > 20e6 && (usage.peakMemoryBytes ?? 0) < 60e6, `peak ${usage.peakMemoryBytes}`);
});

t.test('control groups of version 2 are found, limited, counted and emptied', { skip }, async (t) => {
  const proc = temporaryFolder(t);
  const at = join(proc, 'mount');
  const unit = join(at, 'system.slice', 'berth.service');
  mkdirSync(unit, { recursive: true });
  writeFileSync(join(unit, 'cgroup.controllers'), 'cpuset cpu io memory pids\n');
  writeFileSync(join(unit, 'cgroup.type'), 'domain\n');
  writeFileSync(join(proc, 'mountinfo'), `30 20 0:25 / ${at} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n`);
  writeFileSync(join(proc, 'cgroup'), '0::/system.slice/berth.service\n');
  const home = findCgroupHome(proc);
  t.equal(home?.version, 2);
  t.equal(home?.folders.get('memory'), unit);
  t.equal(readFileSync(join(unit, 'berth-agent', 'cgroup.procs'), 'utf8'), String(process.pid), 'groups are leaves');
  t.equal(readFileSync(join(unit, 'cgroup.subtree_control'), 'utf8'), '+cpu +memory +pids +io +cpuset');
  writeFileSync(join(proc, 'cgroup'), '0::/system.slice/berth.service/berth-agent\n');
  t.strictSame(findCgroupHome(proc)?.folders, home?.folders, 'an agent that was moved finds the same');
  if (!home) return;
  const group = new Cgroup(home, 'berth-x').make();
  const file = (name: string) => join(group.folders[0] ?? '', name);
  const files = [
    'cpu.max',
    'memory.max',
    'memory.swap.max',
    'memory.peak',
    'pids.max',
    'cpu.stat',
    'io.stat',
    'memory.events',
  ];
  for (const name of files) writeFileSync(file(name), '0');
  group.begin({ cpuMillis: 1_500, memoryMiB: 2, diskMiB: 0, maxProcesses: 7 });
  const written = files.slice(0, 5).map((name) => readFileSync(file(name), 'utf8'));
  t.strictSame(written, ['150000 100000', '2097152', '0', '0', '7']);
  writeFileSync(file('cpu.stat'), 'usage_usec 1234000\nuser_usec 1000000\n');
  writeFileSync(file('io.stat'), '8:0 rbytes=100 wbytes=7 rios=1\n8:16 rbytes=11 wbytes=0 rios=1\n');
  writeFileSync(file('memory.peak'), '4096\n');
  writeFileSync(file('memory.events'), 'low 0\nhigh 0\noom 2\noom_kill 1\n');
  t.strictSame(group.end(), {
    usage: { cpuMs: 1_234, peakMemoryBytes: 4_096, readBytes: 111, writtenBytes: 7 },
    wasOutOfMemory: true,
  });
  group.stopForks();
  t.equal(readFileSync(file('pids.max'), 'utf8'), '0');
});

t.test('a real group of version 2 holds its processes until they are killed', { skip }, async (t) => {
  const at = mkdtempSync(join(tmpdir(), 'berth-cgroup2-'));
  execFileSync('mount', ['-t', 'cgroup2', 'none', at]);
  t.teardown(() => {
    execFileSync('umount', [at]);
    rmdirSync(at);
  });
  const home: CgroupHome = { version: 2, folders: new Map([['memory', at]]) };
  const group = new Cgroup(home, `berth-test-${process.pid}`).make();
  const script = `echo $$ > ${group.folders[0]}/cgroup.procs; echo in; setsid sleep 60 & exec sleep 60`;
  const child = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'ignore'] });
  await once(child.stdout, 'data');
  await until('both are in', () => group.members().length === 2);
  t.notOk(group.remove(), 'not while there are processes');
  for (const pid of group.members()) process.kill(pid, 'SIGKILL');
  await until('it is empty', () => group.members().length === 0);
  await until('it is gone', () => group.remove());
});
