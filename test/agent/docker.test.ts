import t, { type Test } from 'tap';
import type { AllocationId } from '../../shared/ids.js';
import type { ContainerSpec } from '../../shared/job-spec/spec.js';
import type { StartOrder } from '../../shared/wire/messages.js';
import { taskDriverConformance, Watched } from '../conformance/task-driver.js';
import { gpus } from '../kit/builders.js';
import { type DockerDaemon, dockerTests, startDocker } from '../kit/docker.js';
import { type DockerBench, dockerBench } from '../kit/docker-bench.js';

// Containers are slow to start on a busy machine.
t.setTimeout(300_000);

// A driver keeps no process alive by itself.
const keepAlive = setInterval(() => {}, 60_000);
t.teardown(() => clearInterval(keepAlive));

const id = 'j1.0#1' as AllocationId;

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

t.test('against a real Docker daemon', dockerTests, async (t) => {
  const daemon = startDocker(t);
  t.test('the Docker driver', async (t) => taskDriverConformance(t, (t) => dockerBench(t, daemon)));
  for (const [title, run] of Object.entries(STORIES)) t.test(title, (t) => run(t, daemon));
});
