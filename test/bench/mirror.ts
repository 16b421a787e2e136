import { writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { below, seededRandom } from '../../shared/random.js';
import { type Cluster, startCluster } from '../kit/cluster.js';
import { type Slurm, startSlurm } from '../kit/slurm.js';
import { countCalls, type SlurmCall } from '../kit/slurm-calls.js';
import { percentile, rounded, say } from './figures.js';

/** What a job may lag behind beside the period. */
const MORE_LAG_MS = 2_000;
const SHORTEST_SECONDS = 5;
const LONGEST_SECONDS = 60;
const LIMIT_MS = 10 * 60_000;
const PROGRAMS = ['squeue', 'sacct', 'scontrol', 'sinfo', 'sbatch', 'scancel'];

/**
 * Jobs at a real Slurm, each by itself and all at once: how often its controller is asked for their states, and how much
 * later than Slurm this coordinator knows of a start or an end. Slurm's own times are whole seconds, so that a lag reads
 * up to a second too long. `--min` and `--max` (seconds) are the target's period.
 */
export async function mirror(args: string[]): Promise<object> {
  const { values } = parseArgs({
    args,
    options: {
      jobs: { type: 'string', default: '500' },
      min: { type: 'string', default: '10' },
      max: { type: 'string', default: '10' },
    },
  });
  const jobCount = Number(values.jobs);
  const period = { minMs: Number(values.min) * 1_000, maxMs: Number(values.max) * 1_000 };
  const undo: (() => void)[] = [];
  try {
    say('starting Slurm');
    const slurm = startSlurm({ teardown: (each: () => void) => undo.push(each) } as never, { cpus: jobCount });
    const calls = countCalls(slurm, PROGRAMS);
    const targets = join(slurm.folder, 'targets.yaml');
    const given = `{min: ${values.min}s, max: ${values.max}s}`;
    const target = `{name: lab, backend: slurm-local, stagingRoot: ${slurm.folder}/jobs, partition: main, period: ${given}}`;
    writeFileSync(targets, `targets:\n  - ${target}\n`);
    const cluster = await startCluster({
      agents: 0,
      coordinatorFlags: ['--targets', targets],
      coordinatorEnv: { ...slurm.env, PATH: `${calls.folder}:${slurm.env.PATH}` },
    });
    undo.unshift(() => void cluster.stop());
    const load = loadavg()[0] ?? 0;
    const seen = await run(cluster, jobCount);
    const measured = { lags: lagsOf(seen, slurm), calls: calls.made(), period, lengthMs: seen.lengthMs };
    return { jobCount, period, ...figures(measured), load: [load, loadavg()[0]] };
  } finally {
    for (const each of undo) each();
  }
}

interface Seen {
  readonly remoteId: string;
  readonly startedAt: number;
  readonly endedAt: number;
}

interface Run {
  readonly jobs: readonly Seen[];
  readonly lengthMs: number;
}

/** Every job to its end, as the coordinator tells of it. */
async function run({ api }: Cluster, jobCount: number): Promise<Run> {
  const random = seededRandom(1);
  const begunAt = performance.now();
  const ids: string[] = [];
  for (let count = 0; count < jobCount; count += 1) {
    const seconds = SHORTEST_SECONDS + below(random, LONGEST_SECONDS - SHORTEST_SECONDS);
    ids.push((await api.submit({ target: 'hpc/lab', command: ['sleep', String(seconds)] })).id);
  }
  say(`${jobCount} jobs submitted`);
  for (const id of ids) await api.finished(id, LIMIT_MS);
  const lengthMs = performance.now() - begunAt;
  return { lengthMs, jobs: await Promise.all(ids.map((id) => seenOf(api, id))) };
}

interface AttemptView {
  readonly startedAt: string;
  readonly endedAt: string;
  readonly mirror: { readonly remoteId: string };
}

async function seenOf(api: Cluster['api'], id: string): Promise<Seen> {
  const { attempts } = await api.json<{ attempts: readonly AttemptView[] }>('GET', `/v1/jobs/${id}/tasks/0`);
  const [attempt] = attempts;
  if (!attempt || attempts.length > 1) throw new Error(`${id} has ${attempts.length} attempts`);
  const { startedAt, endedAt, mirror: mirrored } = attempt;
  return { remoteId: mirrored.remoteId, startedAt: Date.parse(startedAt), endedAt: Date.parse(endedAt) };
}

interface Lags {
  readonly start: readonly number[];
  readonly end: readonly number[];
}

/** Milliseconds between Slurm's times and ours. */
function lagsOf({ jobs }: Run, slurm: Slurm): Lags {
  const text = slurm.tool(
    ...['env', 'SLURM_TIME_FORMAT=%s', 'squeue', '--states=all', '--noheader'],
    '--Format=JobID:|,StartTime:|,EndTime:|',
  );
  const rows = text.split('\n').map((line) => line.split('|'));
  const times = new Map(rows.map(([id = '', ...seconds]) => [id, seconds.map(Number)]));
  const lags = jobs.map(({ remoteId, startedAt, endedAt }) => {
    const [start = Number.NaN, end = Number.NaN] = times.get(remoteId) ?? [];
    return { start: startedAt - start * 1_000, end: endedAt - end * 1_000 };
  });
  return { start: lags.map(({ start }) => start), end: lags.map(({ end }) => end) };
}

interface Measured {
  readonly lags: Lags;
  readonly calls: readonly SlurmCall[];
  readonly period: { readonly minMs: number; readonly maxMs: number };
  readonly lengthMs: number;
}

function figures({ lags, calls, period, lengthMs }: Measured): object {
  const looks = calls
    .filter(({ program, args }) => program === 'squeue' && args.includes('--array'))
    .map(({ at }) => at);
  const gaps = looks.slice(1).map((at, position) => at - (looks[position] ?? at));
  const limitMs = period.maxMs + MORE_LAG_MS;
  const lagRatio = Math.max(...lags.start, ...lags.end) / limitMs;
  const callRatio = looks.length / (Math.ceil(lengthMs / period.minMs) + 1);
  return {
    lengthMs: Math.round(lengthMs),
    startLagMs: spread(lags.start),
    endLagMs: spread(lags.end),
    lagLimitMs: limitMs,
    lookCount: looks.length,
    shortestGapMs: Math.min(...gaps),
    calls: Object.fromEntries(PROGRAMS.map((name) => [name, calls.filter(({ program }) => program === name).length])),
    lagRatio: rounded(lagRatio, 2),
    callRatio: rounded(callRatio, 2),
    ratio: rounded(Math.max(lagRatio, callRatio), 2),
  };
}

function spread(samples: readonly number[]): object {
  return { p50: percentile(samples, 0.5), p95: percentile(samples, 0.95), max: Math.max(...samples) };
}
