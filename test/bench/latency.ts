import { parseArgs } from 'node:util';
import { type Cluster, startCluster } from '../kit/cluster.js';
import { percentile, rounded, say } from './figures.js';
import { startOne } from './start-latency.js';

/** The first jobs warm the programs up: code not yet compiled, files not yet cached. */
const WARM_UP_COUNT = 10;

/**
 * From the POST of a job on an idle cluster until its command runs, job after job.
 *
 * The start as the API tells it contains the agent's report too, and the moment of `date` its own program start.
 */
export async function latency(args: string[]): Promise<object> {
  const { values } = parseArgs({ args, options: { jobs: { type: 'string', default: '200' } } });
  const jobCount = Number(values.jobs);
  const cluster = await startCluster();
  try {
    for (let count = 0; count < WARM_UP_COUNT; count += 1) await runOne(cluster);
    say(`measuring ${jobCount} jobs`);
    const samples: Sample[] = [];
    for (let count = 0; count < jobCount; count += 1) samples.push(await runOne(cluster));
    const commands = samples.map(({ commandMs }) => commandMs);
    const reports = samples.map(({ reportedMs }) => reportedMs);
    return {
      jobCount,
      p50Ms: rounded(percentile(commands, 0.5)),
      p99Ms: rounded(percentile(commands, 0.99)),
      maxMs: rounded(Math.max(...commands)),
      reportedP50Ms: rounded(percentile(reports, 0.5)),
      reportedP99Ms: rounded(percentile(reports, 0.99)),
    };
  } finally {
    await cluster.stop();
  }
}

interface Sample {
  readonly commandMs: number;
  readonly reportedMs: number;
}

async function runOne(cluster: Cluster): Promise<Sample> {
  const { jobId, submittedAt, commandMs } = await startOne(cluster);
  const task = await cluster.api.json<{ attempts: readonly { startedAt: string }[] }>(
    'GET',
    `/v1/jobs/${jobId}/tasks/0`,
  );
  return { commandMs, reportedMs: Date.parse(task.attempts[0]?.startedAt ?? '') - submittedAt };
}
