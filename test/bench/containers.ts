import { parseArgs } from 'node:util';
import { type Cluster, startCluster } from '../kit/cluster.js';
import { runCommand } from '../kit/command.js';
import { type DockerDaemon, startDocker } from '../kit/docker.js';
import { until } from '../kit/until.js';
import { rounded, say } from './figures.js';

const JOB_LIMIT_MS = 10 * 60_000;
const IMAGE = 'busybox:local';

/**
 * Short containers a second through a real coordinator and agent, beside as many `docker run --rm` at the same
 * concurrency, on the same Docker daemon in the same minutes. Both are over when the last container is removed. Rounds
 * of both alternate and the best of each counts, since other load on the machine only ever lowers a figure.
 */
export async function containers(args: string[]): Promise<object> {
  const { values } = parseArgs({
    args,
    options: {
      containers: { type: 'string', default: '100' },
      concurrency: { type: 'string', default: '4' },
      rounds: { type: 'string', default: '2' },
    },
  });
  const [count, concurrency, rounds] = [values.containers, values.concurrency, values.rounds].map(Number);
  const shape = { count: count ?? 0, concurrency: concurrency ?? 1 };
  const endings: (() => unknown)[] = [];
  try {
    const daemon = startDocker({ teardown: (end) => void endings.push(end) });
    const flags = ['--docker-host', `unix://${daemon.socketPath}`];
    const cluster = await startCluster({ cpus: shape.concurrency, agentFlags: flags });
    endings.unshift(() => cluster.stop());
    const berth: number[] = [];
    const docker: number[] = [];
    for (let round = 0; round < (rounds ?? 1); round += 1) {
      docker.push(await perSecond('docker run', daemon, shape, () => runPlain(daemon, shape)));
      berth.push(await perSecond('berth', daemon, shape, () => runThrough(cluster, shape)));
    }
    return { ...shape, ...figuresOf(berth, docker) };
  } finally {
    for (const end of endings) await end();
  }
}

interface Shape {
  readonly count: number;
  readonly concurrency: number;
}

function figuresOf(berth: readonly number[], docker: readonly number[]): object {
  return {
    containersPerSecond: rounded(Math.max(...berth), 2),
    dockerRunPerSecond: rounded(Math.max(...docker), 2),
    ratio: rounded(Math.max(...berth) / Math.max(...docker), 2),
    allContainersPerSecond: berth.map((rate) => rounded(rate, 2)),
    allDockerRunPerSecond: docker.map((rate) => rounded(rate, 2)),
  };
}

async function perSecond(what: string, daemon: DockerDaemon, { count }: Shape, run: () => Promise<void>) {
  const startedAt = performance.now();
  await run();
  await until('all containers are removed', () => daemon.docker('ps', '-aq').trim() === '');
  const rate = (count * 1_000) / (performance.now() - startedAt);
  say(`${what}: ${rounded(rate, 2)} containers a second`);
  return rate;
}

async function runPlain({ socketPath }: DockerDaemon, { count, concurrency }: Shape): Promise<void> {
  const env = { ...process.env, DOCKER_HOST: `unix://${socketPath}` };
  let left = count;
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const result = await runCommand(['docker', 'run', '--rm', '--network', 'none', IMAGE, 'true'], { env });
      if (result.exitCode !== 0) throw new Error(`docker run failed: ${result.stderr}`);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
}

async function runThrough(cluster: Cluster, { count }: Shape): Promise<void> {
  const job = await cluster.api.submit({
    name: 'containers',
    array: `0-${count - 1}`,
    image: IMAGE,
    command: ['true'],
  });
  const ended = await cluster.api.finished(job.id, JOB_LIMIT_MS);
  if (ended.outcome !== 'succeeded') throw new Error(`the array failed: ${JSON.stringify(ended)}`);
}
