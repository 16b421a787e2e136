import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { type Cluster, startCluster } from '../kit/cluster.js';
import type { Daemon } from '../kit/daemon.js';
import { type DockerDaemon, dockerTests, startDocker } from '../kit/docker.js';
import { type Registry, startRegistry } from '../kit/registry.js';
import { until } from '../kit/until.js';

// Some twenty restarts, each with a job to its end.
t.setTimeout(1_200_000);

interface Scene {
  readonly daemon: DockerDaemon;
  readonly cluster: Cluster;
  readonly registry: Registry;
}

/** Phases of an attempt: what Docker tells when it is reached. */
const PHASES = {
  created: 'create',
  starting: 'attach',
  'just started': 'start',
  running: 'begun',
  stopping: 'kill',
  'ended, not yet reported': 'die',
} as const;
type Phase = keyof typeof PHASES;

const RUN = ['run', '-d'] as const;

async function openScene(t: Test, dockerFlags: readonly string[]): Promise<Scene> {
  const daemon = startDocker(t, dockerFlags);
  const registry = await startRegistry(t);
  const login = ['--registry-credentials', registry.credentialsFile];
  const flags = ['--docker-host', `unix://${daemon.socketPath}`, ...login];
  const cluster = await startCluster({ agentFlags: flags });
  t.teardown(() => cluster.stop());
  return { daemon, cluster, registry };
}

t.test('kill -9 at every phase of an attempt (P4, P5)', dockerTests, async (t) => {
  const scene = await openScene(t, ['--live-restore']);
  for (const victim of ['agent', 'daemon'] as const) {
    for (const phase of Object.keys(PHASES) as Phase[]) {
      t.test(`the ${victim}, ${phase}`, (t) => killAt(t, scene, { victim, phase }));
    }
  }
  t.test(
    'output is whole, but for what the daemon had in its hands, though both were killed while it was written',
    (t) => wholeOutput(t, scene),
  );
  t.test('the agent, pulling', (t) => killedPull(t, scene, 'agent'));
  t.test('the daemon, pulling', (t) => killedPull(t, scene, 'daemon'));
});

t.test('kill -9 of a daemon that kills its containers when it is back', dockerTests, async (t) => {
  const scene = await openScene(t, []);
  for (const phase of ['running', 'stopping', 'ended, not yet reported'] as const) {
    t.test(`it is tried again: ${phase}`, (t) => killAt(t, scene, { victim: 'daemon', phase }));
  }
  t.test('one that is not to be tried again is lost, and its output kept', (t) => lost(t, scene, []));
  t.test('also when the agent was killed while the daemon was away', (t) => lost(t, scene, scene.cluster.agents));
  t.test('also when the agent comes back only after the daemon', (t) => lost(t, scene, scene.cluster.agents, 'last'));
});

async function lost(
  t: Test,
  { cluster, daemon }: Scene,
  agents: readonly Daemon[],
  agentsAre: 'first' | 'last' = 'first',
): Promise<void> {
  const { nap, watch } = aNap(t);
  const command = ['sh', '-c', `echo begun; sleep ${nap}`];
  const submitted = await cluster.berth([...RUN, '--retry', '1', '--image', 'busybox:local', '--', ...command]);
  const jobId = submitted.stdout.trim();
  await until('the command runs', () => watch.seen.size > 0);
  // A daemon that is killed before that was not done with starting it.
  await until('that is known', async () => (await cluster.berth(['show', `${jobId}.0`])).stdout.includes('running'));
  daemon.kill();
  for (const agent of agents) await agent.kill();
  if (agentsAre === 'last') daemon.restart();
  for (const agent of agents) await agent.start();
  if (agentsAre === 'first') {
    t.match(await cluster.api.tasks(jobId), [{ state: 'placed' }], 'nothing is said while nobody knows');
    daemon.restart();
  }
  t.match(await cluster.berth(['wait', jobId]), { exitCode: 125 });
  t.match(await cluster.berth(['show', `${jobId}.0`]), { stdout: /lost: the Docker daemon was restarted/ });
  t.equal((await cluster.berth(['logs', jobId])).stdout, 'begun\n');
  await until('it does not run', () => watch.now === 0);
  t.equal(watch.seen.size, 1, 'it ran once');
  await until('no container is left', () => daemon.docker('ps', '-aq').trim() === '');
}

/** Its own duration makes the command known among all processes; it ends when it is let go. */
function aNap(t: Test): { readonly nap: string; readonly watch: CommandWatch } {
  const nap = `999.${randomInt(1_000_000)}`;
  const watch = new CommandWatch(`sleep\0${nap}`);
  t.teardown(() => watch.stop());
  return { nap, watch };
}

interface Round {
  readonly victim: 'agent' | 'daemon';
  readonly phase: Phase;
}

async function killAt(t: Test, scene: Scene, { victim, phase }: Round): Promise<void> {
  const { cluster, daemon } = scene;
  const { berth, api } = cluster;
  const { nap, watch } = aNap(t);
  const reached = phase === 'running' ? undefined : dockerTells(daemon, PHASES[phase]);
  const script =
    phase === 'stopping' ? `trap '' TERM; echo begun; sleep ${nap}; echo done` : `echo begun; sleep ${nap}; echo done`;
  const submitted = await berth([...RUN, '--image', 'busybox:local', '--', 'sh', '-c', script]);
  const jobId = submitted.stdout.trim();
  if (phase === 'stopping' || phase === 'running') await until('the command runs', () => watch.seen.size > 0);
  if (phase === 'stopping') await berth(['cancel', jobId, '--reason', 'test']);
  if (phase === 'ended, not yet reported') watch.letGo();
  await reached;
  await killAndRestart(scene, victim);
  watch.letGo();

  const wait = await berth(['wait', jobId], { timeoutMs: 60_000 });
  const tasks = await api.tasks(jobId);
  const { attempt } = tasks[0] ?? { attempt: 0 };
  t.ok(watch.seen.size <= attempt, `${watch.seen.size} starts in ${attempt} attempts`);
  t.ok(watch.mostAtOnce <= 1, 'never twice at once');
  if (phase === 'stopping') t.equal(wait.exitCode, 130, wait.stderr);
  else {
    t.equal(wait.exitCode, 0, wait.stderr);
    t.ok(watch.seen.size > 0, 'the command did run');
    const logs = await berth(['logs', jobId]);
    t.equal(logs.stdout, 'begun\ndone\n', logs.stderr);
  }
  await until('no container is left', () => daemon.docker('ps', '-aq').trim() === '');
}

const VICTIMS = ['daemon', 'agent', 'daemon', 'agent'] as const;
const DAEMON_KILLS = VICTIMS.filter((victim) => victim === 'daemon').length;
const DAEMON_READ_BYTES = 32_768 * DAEMON_KILLS;

async function wholeOutput(t: Test, scene: Scene): Promise<void> {
  const { berth } = scene.cluster;
  const count = 20_000;
  const script = `i=0; while [ $i -lt ${count} ]; do echo line $i; i=$((i+1)); [ $((i%20)) -gt 0 ] || usleep 10000; done; printf 'no end of line'`;
  const submitted = await berth([...RUN, '--image', 'busybox:local', '--', 'sh', '-c', script]);
  const jobId = submitted.stdout.trim();
  // By then it is attached to.
  await until('it writes', async () => (await berth(['logs', jobId])).stdout.includes('line 100\n'));
  for (const victim of VICTIMS) {
    await killAndRestart(scene, victim);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
  t.match(await berth(['wait', jobId]), { exitCode: 0 });
  const { stdout } = await berth(['logs', jobId]);
  const lines = stdout.split('\n');
  t.equal(lines.pop(), 'no end of line');
  const numbers = lines.map((line) => Number(/^line (\d+)$/.exec(line)?.[1] ?? Number.NaN));
  // What the daemon had read of the container's pipe and written nowhere died with it, in the middle of a line perhaps.
  const whole = numbers.filter((number) => !Number.isNaN(number));
  t.ok(numbers.length - whole.length <= DAEMON_KILLS, `${numbers.length - whole.length} are torn`);
  const jumps = whole.filter((number, at) => number !== (whole[at - 1] ?? -1) + 1);
  t.ok(jumps.length <= DAEMON_KILLS, `out of order: ${jumps}`);
  t.strictSame(
    whole,
    [...new Set(whole)].sort((left, right) => left - right),
    'nothing is doubled',
  );
  t.equal(whole.at(-1), count - 1);
  t.ok((count - whole.length) * 'line 12345\n'.length <= DAEMON_READ_BYTES, `${count - whole.length} are missing`);
}

async function killedPull(t: Test, scene: Scene, victim: 'agent' | 'daemon'): Promise<void> {
  const { cluster, daemon, registry } = scene;
  const image = await registry.publish(daemon, `pulled-${victim}:1`);
  registry.layerRequests = 0;
  registry.layerBytes = 0;
  const submitted = await cluster.berth([...RUN, '--image', image, '--', 'cat', '/what']);
  await until('the pull has begun', () => registry.layerRequests > 0);
  await killAndRestart(scene, victim);
  registry.layerBytes = Number.POSITIVE_INFINITY;
  t.match(await cluster.berth(['wait', submitted.stdout.trim()]), { exitCode: 0 });
  t.equal((await cluster.berth(['logs', submitted.stdout.trim()])).stdout, `pulled-${victim}:1\n`);
}

async function killAndRestart({ cluster, daemon }: Scene, victim: 'agent' | 'daemon'): Promise<void> {
  const [agent] = cluster.agents;
  if (victim === 'agent') {
    await agent?.kill();
    await agent?.start();
    return;
  }
  daemon.kill();
  daemon.restart();
}

/** Resolves when Docker tells of this. */
function dockerTells({ socketPath }: DockerDaemon, action: string): Promise<void> {
  const env = { ...process.env, DOCKER_HOST: `unix://${socketPath}` };
  const events = spawn('docker', ['events', '--format', '{{.Action}}'], { env, stdio: ['ignore', 'pipe', 'ignore'] });
  return new Promise((resolve) => {
    createInterface({ input: events.stdout }).on('line', (line) => {
      if (line !== action) return;
      events.kill('SIGKILL');
      resolve();
    });
  });
}

const LOOK_MS = 20;

/** Counts the processes that have had a command line, and ends them when they are let go. */
class CommandWatch {
  readonly seen = new Set<string>();
  mostAtOnce = 0;
  /** How many there were at the last look. */
  now = 0;
  #areLetGo = false;
  readonly #timer: NodeJS.Timeout;

  constructor(commandLine: string) {
    this.#timer = setInterval(() => {
      const found = readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && isRunning(pid, commandLine));
      for (const pid of found) this.seen.add(pid);
      this.now = found.length;
      this.mostAtOnce = Math.max(this.mostAtOnce, found.length);
      if (this.#areLetGo) for (const pid of found) end(Number(pid));
    }, LOOK_MS);
  }

  letGo(): void {
    this.#areLetGo = true;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function isRunning(pid: string, commandLine: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8') === `${commandLine}\0`;
  } catch {
    return false;
  }
}
