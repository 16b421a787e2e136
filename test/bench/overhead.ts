import { parseArgs } from 'node:util';
import { type Cluster, startCluster } from '../kit/cluster.js';
import { runCommand } from '../kit/command.js';
import { percentile, rounded, say } from './figures.js';
import { isolationOf } from './isolation-flag.js';

const JOB_LIMIT_MS = 60_000;
const WARM_UP_COUNT = 10;
/** Lengths of the command in seconds, and how often each is run bare and through Berth. */
const LENGTHS: readonly (readonly [seconds: number, runs: number])[] = [
  [0.1, 30],
  [1, 10],
  [10, 5],
];

/**
 * What a task costs in wall time over the bare command: `sleep` from a bare process and through Berth on an idle
 * cluster, in turns. Through Berth it is from the POST until the answer that the job is finished.
 */
export async function overhead(args: string[]): Promise<object> {
  const { values } = parseArgs({ args, options: { isolation: { type: 'string', default: 'none' } } });
  const cluster = await startCluster({ isolation: isolationOf(values.isolation) });
  try {
    for (let count = 0; count < WARM_UP_COUNT; count += 1) await throughBerth(cluster, 0);
    const figures: object[] = [];
    for (const [seconds, runs] of LENGTHS) figures.push(await compare(cluster, seconds, runs));
    return { isolation: values.isolation, lengths: figures };
  } finally {
    await cluster.stop();
  }
}

async function compare(cluster: Cluster, seconds: number, runs: number): Promise<object> {
  say(`sleep ${seconds}, ${runs} times each`);
  const bare: number[] = [];
  const berth: number[] = [];
  for (let run = 0; run < runs; run += 1) {
    bare.push(await timed(() => runCommand(['sleep', String(seconds)], { env: { PATH: process.env.PATH ?? '' } })));
    berth.push(await timed(() => throughBerth(cluster, seconds)));
  }
  const [bareMs, berthMs] = [percentile(bare, 0.5), percentile(berth, 0.5)];
  return {
    seconds,
    bareP50Ms: rounded(bareMs),
    berthP50Ms: rounded(berthMs),
    addedP50Ms: rounded(berthMs - bareMs),
    addedP90Ms: rounded(percentile(berth, 0.9) - bareMs),
    ratio: rounded(berthMs / bareMs, 3),
  };
}

async function throughBerth({ api }: Cluster, seconds: number): Promise<void> {
  const job = await api.submit({ name: 'overhead', command: ['sleep', String(seconds)] });
  const { outcome } = await api.finished(job.id, JOB_LIMIT_MS);
  if (outcome !== 'succeeded') throw new Error(`the job ${outcome}`);
}

async function timed(run: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await run();
  return performance.now() - startedAt;
}
