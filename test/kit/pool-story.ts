import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { type Cluster, startCluster } from './cluster.js';
import { until } from './until.js';

export interface PoolStory {
  /** As below `provider` of a pool. */
  readonly provider: Readonly<Record<string, unknown>>;
  readonly node: { readonly cpus: number; readonly memory: string };
  /** Where its machines reach the coordinator; PORT stands for its port. */
  readonly publicUrl?: string;
  /** How long a machine may take for anything. */
  readonly limitMs: number;
  /** Machines that exist, told by other means than ours. */
  readonly count: () => number;
}

interface PoolAnswer {
  readonly machines: readonly { readonly node: string; readonly phase: string; readonly powerOnCount: number }[];
}

const POOL = 'burst';

/**
 * What a pool is for, told once with real machines: a burst boots two, both run their share, both are suspended when
 * there is nothing to do, the next burst resumes them, and with the pool they go.
 */
export async function poolStory(t: Test, story: PoolStory): Promise<void> {
  const flags = story.publicUrl === undefined ? [] : ['--public-url', story.publicUrl];
  const cluster = await startCluster({ agents: 0, coordinatorFlags: flags });
  t.teardown(() => cluster.stop());
  const machines = async () => (await cluster.api.json<PoolAnswer>('GET', `/v1/pools/${POOL}`)).machines;
  const reach = (what: string, isTrue: () => boolean | Promise<boolean>) => until(what, isTrue, story.limitMs);
  const all = async (phase: string) => {
    const found = await machines();
    return found.length === 2 && found.every((machine) => machine.phase === phase);
  };

  const file = join(cluster.folder, 'pools.json');
  const pool = { name: POOL, provider: story.provider, node: story.node, max: 2, idle: '3s', onIdle: 'suspend' };
  writeFileSync(file, JSON.stringify({ pools: [pool] }));
  await expectZero(t, cluster, ['pools', 'apply', file]);

  const nodes = await burst(t, cluster, story);
  await reach('both machines are suspended', () => all('suspended'));
  t.equal(story.count(), 2);
  await tell(t, cluster);

  t.strictSame(await burst(t, cluster, story), nodes, 'the same two machines ran the second burst');
  const found = await machines();
  t.ok(
    found.length === 2 && found.every(({ powerOnCount }) => powerOnCount > 1),
    'they were resumed, and no other made',
  );
  await tell(t, cluster);

  await expectZero(t, cluster, ['pools', 'rm', POOL]);
  await reach('nothing is left', async () => story.count() === 0);
}

/**
 * A gang of two that fills a machine each, so that both are needed at once, until it is canceled; then a task that ends
 * by itself. Resolves to the nodes that the gang ran on.
 */
async function burst(t: Test, cluster: Cluster, { node, limitMs }: PoolStory): Promise<string[]> {
  const size = ['--cpus', String(node.cpus), '--memory', '16MiB'];
  const gang = ['--array', '0-1', '--gang', '--', 'sh', '-c', 'echo $BERTH_NODE; exec sleep 10000'];
  const job = await expectZero(t, cluster, ['run', '-d', ...size, ...gang]);
  let nodes: string[] = [];
  const ranOnTwo = async (): Promise<boolean> => {
    nodes = [...new Set((await cluster.berth(['logs', job])).stdout.match(/burst-\d+/g))].sort();
    return nodes.length === 2;
  };
  await until('two machines run a task each', ranOnTwo, limitMs);
  await expectZero(t, cluster, ['cancel', job]);
  await expectZero(t, cluster, ['run', '--wait', ...size, '--', 'true']);
  return nodes;
}

/** Resolves to what it prints. */
async function expectZero(t: Test, cluster: Cluster, args: readonly string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await cluster.berth(args);
  t.equal(exitCode, 0, `berth ${args.join(' ')}: ${stderr}`);
  return stdout.trim();
}

/** For whoever reads the report. */
async function tell(t: Test, cluster: Cluster): Promise<void> {
  for (const args of [['pools', 'show', POOL], ['nodes'], ['ls']]) {
    t.comment(`$ berth ${args.join(' ')}\n${(await cluster.berth(args)).stdout}`);
  }
}
