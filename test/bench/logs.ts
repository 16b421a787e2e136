import { stat } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { type Cluster, startCluster } from '../kit/cluster.js';
import { percentile, rounded, say } from './figures.js';
import { startOne } from './start-latency.js';

const MB = 1_000_000;
const TICK_MS = 50;
/** What one noisy task may delay another's start by. */
const LIMIT_MS = 1_000;
const WARM_UP_COUNT = 5;
const JOB_LIMIT_MS = 60_000;

/** Writes lines at a steady rate by the clock: what a tick was late for is made good by the next. */
const NOISE = `
const [rate, seconds] = process.argv.slice(1).map(Number);
const line = Buffer.from('x'.repeat(99) + '\\n');
const block = Buffer.alloc(1e6, line);
const begin = performance.now();
let written = 0;
const tick = () => {
  const due = Math.min(performance.now() - begin, seconds * 1000) / 1000 * rate;
  for (; written + block.length <= due; written += block.length) require('fs').writeSync(1, block);
  if (performance.now() - begin < seconds * 1000) setTimeout(tick, ${TICK_MS});
};
tick();`;

/**
 * How late other tasks start while one writes output at 50 MB/s, on the real daemons.
 *
 * The same starts are measured before, on the idle cluster. The noisy task's output goes the whole way: spooled on the
 * node, shipped, written by the coordinator up to the limit of a stream.
 */
export async function logs(args: string[]): Promise<object> {
  const { values } = parseArgs({
    args,
    options: { rate: { type: 'string', default: '50' }, seconds: { type: 'string', default: '15' } },
  });
  const [rateMBps, seconds] = [Number(values.rate), Number(values.seconds)];
  const cluster = await startCluster();
  try {
    for (let count = 0; count < WARM_UP_COUNT; count += 1) await startOne(cluster);
    say('measuring starts without load');
    const idle = await startsFor(cluster, (seconds * 1_000) / 3);
    say(`measuring starts beside ${rateMBps} MB/s of output for ${seconds} s`);
    const argv = [process.execPath, '-e', NOISE, String(rateMBps * MB), String(seconds)];
    const noisy = await cluster.api.submit({ name: 'noisy', command: argv });
    const beganAt = Date.now();
    const loaded = await startsFor(cluster, seconds * 1_000);
    const shippedMBps = rounded((await shippedBytes(cluster, noisy.id)) / MB / ((Date.now() - beganAt) / 1_000));
    await cluster.api.finished(noisy.id, JOB_LIMIT_MS);
    const writtenMBps = rounded((await writtenBytes(cluster, noisy.id)) / MB / seconds);
    const ratioToLimit = rounded(Math.max(...loaded) / LIMIT_MS, 3);
    return { rateMBps, writtenMBps, shippedMBps, idle: figuresOf(idle), loaded: figuresOf(loaded), ratioToLimit };
  } finally {
    await cluster.stop();
  }
}

async function startsFor(cluster: Cluster, durationMs: number): Promise<number[]> {
  const samples: number[] = [];
  for (const until = Date.now() + durationMs; Date.now() < until; ) samples.push((await startOne(cluster)).commandMs);
  return samples;
}

function figuresOf(samples: readonly number[]): object {
  return {
    jobCount: samples.length,
    p50Ms: rounded(percentile(samples, 0.5)),
    p99Ms: rounded(percentile(samples, 0.99)),
    maxMs: rounded(Math.max(...samples)),
  };
}

/** What the coordinator has of the noisy task by now; nobody waits for the rest. */
async function shippedBytes(cluster: Cluster, jobId: string): Promise<number> {
  const path = `${cluster.stateDir}/logs/${jobId}/main.0#1.out`;
  const found = await stat(`${path}.part`).catch(() => stat(path));
  return found.size;
}

async function writtenBytes(cluster: Cluster, jobId: string): Promise<number> {
  type Attempts = { readonly attempts: readonly { readonly output: { readonly stdoutBytes: number } | null }[] };
  const { attempts } = await cluster.api.json<Attempts>('GET', `/v1/jobs/${jobId}/tasks/0`);
  return attempts[0]?.output?.stdoutBytes ?? 0;
}
