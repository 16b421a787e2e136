import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setImmediate, setTimeout } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { killLeftovers } from '../../agent/driver/docker/leftovers.js';
import { SecretFolder } from '../../agent/driver/secret-folder.js';
import type { AllocationId } from '../../shared/ids.js';
import type { ContainerSpec } from '../../shared/job-spec/spec.js';
import type { StartOrder } from '../../shared/wire/messages.js';
import { taskDriverConformance, Watched } from '../conformance/task-driver.js';
import { gpus } from '../kit/builders.js';
import { type DockerDaemon, dockerTests, startDocker } from '../kit/docker.js';
import { type DockerBench, dockerBench } from '../kit/docker-bench.js';
import { deadlyDoor } from '../kit/docker-door.js';
import { startPodman } from '../kit/podman.js';
import { until } from '../kit/until.js';

// Containers are slow to start on a busy machine.
t.setTimeout(300_000);

// A driver keeps no process alive by itself.
const keepAlive = setInterval(() => {}, 60_000);
t.teardown(() => clearInterval(keepAlive));

const id = 'j1.0#1' as AllocationId;
const DEAD_MS = 500;

async function ran(t: Test, bench: DockerBench, order: StartOrder) {
  const watched = await Watched.open(bench.factory);
  t.teardown(() => watched.driver.close());
  await watched.driver.recover([]);
  await watched.driver.start(order);
  const { end } = await watched.ended(order.allocationId);
  const text = async (stream: 'stdout' | 'stderr') =>
    Buffer.from(await watched.driver.read(order.allocationId, stream, 0, 100_000)).toString();
  return { end, stdout: await text('stdout'), stderr: await text('stderr') };
}

/** Files of the daemon's, of any kind, that hold the text. */
function leaksIn(folder: string, text: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return leaksIn(path, text);
    return entry.isFile() && readFileSync(path).includes(text) ? [path] : [];
  });
}

/** A node whose containers may have secrets, and where those lie. */
function benchWithSecrets(t: Test, daemon: DockerDaemon): { readonly bench: DockerBench; readonly root: string } {
  const root = mkdtempSync('/dev/shm/berth-test-');
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  const secrets = new SecretFolder(join(root, 'docker'), 'mount');
  return { bench: dockerBench(t, daemon, { secrets }), root };
}

const STORIES: Readonly<Record<string, (t: Test, daemon: DockerDaemon) => Promise<void>>> = {
  'a container has no capability, no new privileges, no network, and its limits': async (t, daemon) => {
    const bench = dockerBench(t, daemon);
    const script = `grep -E '^(CapEff|CapBnd|NoNewPrivs):' /proc/self/status; ls /sys/class/net
      cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes \\
        /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null
      cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory.swap.max /sys/fs/cgroup/pids.max /sys/fs/cgroup/cpu.max 2>/dev/null
      true`;
    const resources = { cpuMillis: 1_500, memoryMiB: 48, diskMiB: 0 };
    const { stdout } = await ran(t, bench, bench.shell(id, script, { resources, container: { pidsLimit: 77 } }));
    t.match(stdout, /CapBnd:\s+0+\nNoNewPrivs:\s+1\nlo\n/);
    t.match(stdout, /CapEff:\s+0+\n/);
    // The second number is memory and swap with control groups of version 1, swap alone with version 2.
    t.match(stdout, /lo\n50331648\n(50331648|0)\n77\n150000( 100000)?\n$/);
  },

  'a container may have a user, a read-only root, memory for files and capabilities': async (t, daemon) => {
    const bench = dockerBench(t, daemon);
    const script = `id -u; touch /x 2>/dev/null || echo read-only; touch /scratch/x && echo scratch
      df -k /dev/shm | tail -n 1 | awk '{ print $2 }'; grep CapBnd /proc/self/status; ls /sys/class/net | tr '\\n' ' '`;
    const container: ContainerSpec = {
      ...{ user: '1000:1000', readOnly: true as const, tmpfs: ['/scratch'], shmMiB: 8, capAdd: ['CHOWN'] },
      network: 'bridge',
    };
    const { stdout } = await ran(t, bench, bench.shell(id, script, { container }));
    t.match(stdout, /^1000\nread-only\nscratch\n8192\nCapBnd:\s+0+1\neth0 lo $/);
  },

  'a task sees its variables, and nothing of the agent': async (t, daemon) => {
    process.env.BERTH_SECRET = 'of the agent';
    t.teardown(() => delete process.env.BERTH_SECRET);
    const bench = dockerBench(t, daemon);
    const run = { kind: 'command', argv: ['env'] } as const;
    const { stdout } = await ran(t, bench, bench.shell(id, '', { run, env: { GREETING: "it's $HOME" } }));
    for (const line of [`BERTH_ALLOCATION_ID=${id}`, "GREETING=it's $HOME", 'PATH=/bin', 'BERTH_NODE=n1']) {
      t.ok(stdout.split('\n').includes(line), line);
    }
    t.notMatch(stdout, /of the agent|TMPDIR/);
  },

  'what this node cannot do is rejected, what nobody can do fails': async (t, daemon) => {
    const bench = dockerBench(t, daemon);
    const gpu = await ran(t, bench, bench.shell(id, 'true', { gpus: gpus(1) }));
    t.match(gpu.end, { kind: 'rejected', message: /no GPU runtime/ });
    for (const container of [{ network: 'host' }, { capAdd: ['SYS_ADMIN'] }] as const) {
      t.match((await ran(t, dockerBench(t, daemon), bench.shell(id, 'true', { container }))).end, { kind: 'rejected' });
    }
    const user = bench.shell(id, 'true', { container: { user: 'nobody-knows' } });
    t.match((await ran(t, dockerBench(t, daemon), user)).end, { kind: 'start-failed', message: /nobody-knows/ });
  },

  'secrets reach a container of any user, and Docker has none of them on its disk': async (t, daemon) => {
    const { bench, root } = benchWithSecrets(t, daemon);
    const value = `hush-${randomBytes(24).toString('hex')}`;
    const plain = `plain-${randomBytes(24).toString('hex')}`;
    const script = `id -u; printf %s "$TOKEN" | sha256sum; sha256sum < "$BERTH_SECRETS_DIR/token.txt"
      printf %s "$ODD"; stat -f -c %T "$BERTH_SECRETS_DIR"
      { echo x > "$BERTH_SECRETS_DIR/y"; } 2>/dev/null || echo read-only; exec sleep 1000`;
    const secrets = [
      { name: 'token', env: 'TOKEN', file: 'token.txt', value: Buffer.from(value) },
      { name: 'odd', env: 'ODD', value: Buffer.from(`it's "$HOME" \\ ü\nend\n`) },
    ];
    const watched = await Watched.open(bench.factory);
    t.teardown(() => watched.driver.close());
    const parts = { secrets, env: { PLAIN: plain }, container: { user: '1000:1000', readOnly: true } } as const;
    await watched.driver.start(bench.shell(id, script, parts));
    const read = async () => Buffer.from(await watched.driver.read(id, 'stdout', 0, 100_000)).toString();
    await until('it has seen its secrets', async () => (await read()).includes('read-only'));
    const digest = createHash('sha256').update(value).digest('hex');
    const seen = `1000\n${digest}  -\n${digest}  -\nit's "$HOME" \\ ü\nend\ntmpfs\nread-only\n`;
    t.equal(await read(), seen);
    t.notMatch(daemon.docker('inspect', ...daemon.docker('ps', '-q').trim().split('\n')), value);
    t.strictSame(leaksIn(join(daemon.folder, 'data'), value), []);
    t.not(leaksIn(join(daemon.folder, 'data'), plain).length, 0, 'the search finds an ordinary variable');
    t.not(leaksIn(root, value).length, 0);
    await watched.driver.close();
    const next = await Watched.open(bench.factory);
    t.teardown(() => next.driver.close());
    await next.driver.recover([id]);
    t.not(leaksIn(root, value).length, 0, 'a new agent leaves them to who runs');
    await next.driver.signal(id, 'SIGKILL');
    t.notOk(existsSync(join(root, 'docker')), 'they end with the attempt');
  },

  'secrets that an image or a node cannot take are refused, with a remedy': async (t, daemon) => {
    const archive = join(daemon.folder, 'bare.tar');
    execFileSync('tar', ['-C', join(daemon.folder, 'busybox'), '-cf', archive, 'bin/busybox']);
    const image = daemon.docker('import', archive, 'bare:local').trim() && 'bare:local';
    const run = { kind: 'command', argv: ['/bin/busybox', 'cat', '/.berth/secrets/a'] } as const;
    const value = Buffer.from('v');
    const { bench, root } = benchWithSecrets(t, daemon);
    const file = await ran(t, bench, bench.shell(id, '', { image, run, secrets: [{ name: 'a', file: 'a', value }] }));
    t.match(file, { end: { kind: 'exited', exitCode: 0 }, stdout: 'v' });
    const asked = { image, run, secrets: [{ name: 'a', env: 'A', value }] };
    for (const [order, end] of [
      [bench.shell(id, '', asked), { kind: 'start-failed', message: /no \/bin\/sh.*take them as files/ }],
      [bench.shell(id, '', { ...asked, env: { 'a.b': '1' } }), { kind: 'start-failed', message: /"a.b".*as files/ }],
      [
        bench.shell(id, '', { secrets: [{ name: 'a', env: 'A', value: Buffer.from([0]) }] }),
        { kind: 'start-failed', message: /NUL.*only be a file/ },
      ],
    ] as const) {
      const other = benchWithSecrets(t, daemon);
      t.match((await ran(t, other.bench, order)).end, end);
      t.notOk(existsSync(join(other.root, 'docker')));
    }
    const nowhere = dockerBench(t, daemon);
    t.match((await ran(t, nowhere, bench.shell(id, '', asked))).end, {
      kind: 'rejected',
      message: /no place in memory/,
    });
    t.notOk(existsSync(join(root, 'docker')));
  },

  "a secret variable goes to the image's own entry point as well": async (t, daemon) => {
    const archive = join(daemon.folder, 'entry.tar');
    execFileSync('tar', ['-C', join(daemon.folder, 'busybox'), '-cf', archive, '.']);
    const changes = ['--change', 'ENTRYPOINT ["/bin/sh", "-c", "echo $A $0"]', '--change', 'ENV PATH=/bin'];
    daemon.docker('import', ...changes, archive, 'entry:local');
    const { bench } = benchWithSecrets(t, daemon);
    const parts = { image: 'entry:local', container: { entrypoint: 'image' } } as const;
    const secrets = [{ name: 'a', env: 'A', value: Buffer.from('v') }];
    const run = { kind: 'command', argv: ['argument'] } as const;
    t.match(await ran(t, bench, bench.shell(id, '', { ...parts, run, secrets })), { stdout: 'v argument\n' });
  },

  'output that no terminal could show comes through as it was, fast': async (t, daemon) => {
    const bench = dockerBench(t, daemon);
    const script = `printf 'a\\377\\000b'; printf 'error' >&2; head -c 100000000 /dev/zero`;
    const watched = await Watched.open(bench.factory);
    t.teardown(() => watched.driver.close());
    await watched.driver.start(bench.shell(id, script));
    const { output } = await watched.ended(id);
    t.strictSame(output, { stdoutBytes: 100_000_004, stderrBytes: 5 });
    t.strictSame([...(await watched.driver.read(id, 'stdout', 0, 5))], [97, 255, 0, 98, 0]);
    t.equal(Buffer.from(await watched.driver.read(id, 'stderr', 0, 9)).toString(), 'error');
  },

  'containers that no attempt has are removed, those of another agent are not': async (t, daemon) => {
    const [mine, other] = [dockerBench(t, daemon), dockerBench(t, daemon)];
    const names = (): string[] => daemon.docker('ps', '--format', '{{.Names}}').trim().split('\n').filter(Boolean);
    const watchers = await Promise.all([mine, other].map((bench) => Watched.open(bench.factory)));
    for (const { driver } of watchers) await driver.start(mine.shell(id, 'sleep 1000'));
    await Promise.all(watchers.map((watched) => watched.started(id)));
    t.equal(names().length, 2);
    await Promise.all(watchers.map(({ driver }) => driver.close()));
    const next = await Watched.open(mine.factory);
    t.teardown(() => next.driver.close());
    await next.driver.recover([]);
    t.equal(names().length, 1);
    const last = await Watched.open(other.factory);
    t.teardown(() => last.driver.close());
    await last.driver.recover([]);
    t.strictSame(names(), []);
  },
};

for (const [name, start] of Object.entries({ 'Docker daemon': startDocker, Podman: startPodman })) {
  t.test(`against a real ${name}`, dockerTests, async (t) => {
    const daemon = start(t);
    t.test('the Docker driver', async (t) => taskDriverConformance(t, (t) => dockerBench(t, daemon)));
    for (const [title, run] of Object.entries(STORIES)) t.test(title, (t) => run(t, daemon));
  });
}

t.test('a container that its daemon started unheard, and killed on its return, is lost', dockerTests, async (t) => {
  const daemon = startDocker(t);
  const bench = dockerBench(t, { ...daemon, socketPath: await deadlyDoor(t, daemon) });
  t.match((await ran(t, bench, bench.shell(id, 'sleep 1000'))).end, {
    kind: 'lost',
    message: /the Docker daemon was restarted/,
  });
});

t.test('nothing is left of what a daemon started that was killed over it', dockerTests, async (t) => {
  const daemon = startDocker(t);
  const bench = dockerBench(t, daemon);
  const nap = `sleep\0${1_000 + randomBytes(3).readUIntBE(0, 3) / 1e7}\0`;
  const watched = await Watched.open(bench.factory);
  t.teardown(() => watched.driver.close());
  await watched.driver.recover([]);
  const started = watched.driver.start(bench.shell(id, `exec ${nap.replaceAll('\0', ' ')}`));
  // The daemon has begun the command then, and written down nowhere that it did.
  while (!isRunning(nap)) await setImmediate();
  daemon.kill();
  // The driver, which is in this process, sees it away before it is back.
  await setTimeout(DEAD_MS);
  daemon.restart();
  await started;
  const { end } = await watched.ended(id);
  t.match(end, { kind: 'lost', message: /the Docker daemon (ended while it started the container|was restarted)/ });
  await watched.driver.remove(id);
  await until('it is gone', () => !isRunning(nap));
});

t.test('a container that runs unknown to its daemon is told by its control group', dockerTests, async (t) => {
  const [container, neighbour] = [randomBytes(32).toString('hex'), randomBytes(32).toString('hex')];
  const sleepers = [container, neighbour].map((name) => {
    const group = join('/sys/fs/cgroup', existsSync('/sys/fs/cgroup/pids') ? 'pids' : '', `berth-test-${name}`);
    const sleeper = spawn('sleep', ['600'], { stdio: 'ignore' });
    mkdirSync(group);
    t.teardown(async () => {
      sleeper.kill();
      await until('its group is empty', () => readFileSync(join(group, 'cgroup.procs'), 'utf8') === '');
      rmdirSync(group);
    });
    writeFileSync(join(group, 'cgroup.procs'), String(sleeper.pid));
    return sleeper;
  });
  t.equal(killLeftovers(container), 1);
  await until('it has ended', () => sleepers[0]?.signalCode === 'SIGKILL');
  t.equal(sleepers[1]?.signalCode, null, 'and no other');
  t.equal(killLeftovers(container), 0);
});

function isRunning(commandLine: string): boolean {
  return readdirSync('/proc').some((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'latin1') === commandLine;
    } catch {
      return false;
    }
  });
}
