import { readFileSync } from 'node:fs';
import { type PoolTimes, simulatedTable4 } from './table4-simulated.js';

/**
 * The founding experiment, for real: submits the 40 jobs of Table 4 to a running coordinator at their times, made
 * shorter by `--speedup`, waits for the last, and prints what they waited and what the machines were on, beside what a
 * simulation says in which machines take as long as they took.
 *
 *   node build/test/bench/table4.js URL TOKEN ARRIVALS.csv SPEEDUP
 */
const RUN_SECONDS = { small: 240, large: 1_200 } as const;
/** Node-hours are counted over this long, with the machine that is always on. */
const WINDOW_HOURS = 2.5;
const GIVE_UP_FACTOR = 3;
const POLL_MS = 500;

type JobType = keyof typeof RUN_SECONDS;

interface Arrival {
  readonly id: string;
  readonly type: JobType;
  readonly atSeconds: number;
}

interface JobDocument {
  readonly id: string;
  readonly outcome: string | null;
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
}

interface PoolDocument {
  readonly name: string;
  readonly totals: { readonly onMs: number; readonly powerOnCount: number; readonly failedPowerOnCount: number };
  readonly times: { readonly bootMs: number; readonly resumeMs: number; readonly offMs: number };
}

interface Run {
  readonly arrival: Arrival;
  readonly waitSeconds: number;
  readonly endSeconds: number;
}

const [url = '', token = '', arrivalsFile = '', speedupText = '60'] = process.argv.slice(2);
const speedup = Number(speedupText);

const arrivalsText = readFileSync(arrivalsFile, 'utf8');
const arrivals = readArrivals(arrivalsText);
const beganAt = Date.now();
const ids = await Promise.all(arrivals.map(submitInTime));
const jobs = await finished(ids);
const { pools } = await ask<{ pools: readonly PoolDocument[] }>('GET', '/v1/pools');
const hours = nodeHours();
const times = { small: timesOf('small'), large: timesOf('large') };
const simulated = await simulatedTable4(arrivalsText, times);
report(
  arrivals.map((arrival, position) => runOf(arrival, jobs[position])),
  arrivals.map(simulatedRunOf),
);
console.log(
  `(a boot took ${seconds(times.large.boot)}, a resume ${seconds(times.small.resume)}, in the simulation too)`,
);

function readArrivals(text: string): Arrival[] {
  const rows = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return rows.slice(1).map((row) => {
    const [id = '', type = '', at = ''] = row.split(',');
    return { id, type: type === 'large' ? 'large' : 'small', atSeconds: Number(at) };
  });
}

async function submitInTime({ id, type, atSeconds }: Arrival): Promise<string> {
  await pause(beganAt + (atSeconds * 1_000) / speedup - Date.now());
  const isLarge = type === 'large';
  const step = {
    command: ['sleep', String(RUN_SECONDS[type] / speedup)],
    resources: isLarge ? { cpus: 8, memory: '50GiB' } : { cpus: 2, memory: '15GiB' },
    constraints: [`label:pool=${type}`],
    ...(isLarge ? { exclusive: true } : {}),
  };
  const body = { name: type, labels: { table4: id }, ...step };
  const { job } = await ask<{ job: JobDocument }>('POST', '/v1/jobs', body);
  return job.id;
}

async function finished(jobIds: readonly string[]): Promise<readonly JobDocument[]> {
  const giveUpAt = beganAt + (GIVE_UP_FACTOR * WINDOW_HOURS * 3_600_000) / speedup;
  for (;;) {
    const documents = await Promise.all(jobIds.map((id) => ask<JobDocument>('GET', `/v1/jobs/${id}`)));
    const left = documents.filter(({ outcome }) => outcome === null);
    if (left.length === 0) return documents;
    if (Date.now() > giveUpAt) throw new Error(`${left.length} jobs have not finished: ${left.map(({ id }) => id)}`);
    await pause(POLL_MS);
  }
}

function runOf(arrival: Arrival, job: JobDocument | undefined): Run {
  if (job?.outcome !== 'succeeded') throw new Error(`${arrival.id} has ${job?.outcome ?? 'not ended'}`);
  const sinceBegin = (time: string | null): number => ((Date.parse(time ?? '') - beganAt) / 1_000) * speedup;
  const waitSeconds = Math.max(0, sinceBegin(job.startedAt) - arrival.atSeconds);
  return { arrival, waitSeconds, endSeconds: sinceBegin(job.finishedAt) };
}

function simulatedRunOf(arrival: Arrival): Run {
  const job = simulated.history.jobs.find(({ id }) => id === arrival.id);
  if (job?.startMs == null || job.endMs === null) throw new Error(`${arrival.id} has not ended in the simulation`);
  return { arrival, waitSeconds: (job.startMs - job.submitMs) / 1_000, endSeconds: job.endMs / 1_000 };
}

/** How long the pool's machines took, as it has learnt. */
function timesOf(type: JobType): PoolTimes {
  const known = pools.find(({ name }) => name === type)?.times ?? { bootMs: 0, resumeMs: 0, offMs: 0 };
  const part = (tookMs: number): number => Math.round((tookMs * speedup) / 1_000);
  return { boot: part(known.bootMs), resume: part(known.resumeMs), off: part(known.offMs) };
}

function report(real: readonly Run[], virtual: readonly Run[]): void {
  const waits = (runs: readonly Run[], type?: JobType): number[] =>
    runs.filter(({ arrival }) => !type || arrival.type === type).map(({ waitSeconds }) => waitSeconds);
  const both = (figure: (runs: readonly Run[]) => string): string[] => [figure(real), figure(virtual)];
  const count = (name: 'powerOnCount' | 'failedPowerOnCount'): number =>
    pools.reduce((sum, { totals }) => sum + totals[name], 0);
  printRows([
    ['', 'Berth', 'Berth, simulated', 'CLUES, simulated', 'the paper'],
    ['small jobs waited, mean', ...both((runs) => seconds(mean(waits(runs, 'small')))), '5 s', ''],
    ['small jobs waited, most', ...both((runs) => seconds(Math.max(...waits(runs, 'small')))), '116 s', ''],
    ['large jobs waited, mean', ...both((runs) => seconds(mean(waits(runs, 'large')))), '812 s', ''],
    ['all jobs waited, mean', ...both((runs) => seconds(mean(waits(runs)))), '105.7 s', ''],
    ['most waiting at once', ...both((runs) => String(mostWaiting(runs))), '4', '10'],
    [
      'all done after',
      ...both((runs) => clock(Math.max(...runs.map(({ endSeconds }) => endSeconds)))),
      '1:51:10',
      '2 h',
    ],
    ['node-hours', hours.toFixed(2), simulated.nodeHours.toFixed(2), '6.08', ''],
    ['power-ons', String(count('powerOnCount')), String(simulated.powerOns), '9', ''],
    ['of them failed', String(count('failedPowerOnCount')), '0', '3', ''],
  ]);
}

function mostWaiting(runs: readonly Run[]): number {
  const steps = runs.flatMap(({ arrival: { atSeconds }, waitSeconds }) =>
    // Less than this is the time that a start takes, made longer by the speed-up.
    waitSeconds < speedup ? [] : [[atSeconds, 1] as const, [atSeconds + waitSeconds, -1] as const],
  );
  let now = 0;
  let most = 0;
  for (const [, change] of steps.toSorted((left, right) => left[0] - right[0] || left[1] - right[1])) {
    now += change;
    most = Math.max(most, now);
  }
  return most;
}

/** The window is longer than the run: for the rest of it the machine that is always on counts. */
function nodeHours(): number {
  const elapsedHours = ((Date.now() - beganAt) / 3_600_000) * speedup;
  const measured = pools.reduce((sum, { totals }) => sum + totals.onMs, 0) / 3_600_000;
  return measured * speedup + Math.max(0, WINDOW_HOURS - elapsedHours);
}

function printRows(rows: readonly (readonly string[])[]): void {
  const widths = [26, 10, 18, 18, 10];
  for (const row of rows)
    console.log(
      row
        .map((text, column) => text.padEnd(widths[column] ?? 0))
        .join('')
        .trimEnd(),
    );
}

async function ask<Document>(method: string, path: string, body?: object): Promise<Document> {
  const response = await fetch(`${url}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body ? { 'content-type': 'application/json' } : {}) },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as Document;
}

function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, delayMs)));
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function seconds(value: number): string {
  return `${value.toFixed(0)} s`;
}

function clock(value: number): string {
  const [hours, minutes, rest] = [Math.floor(value / 3_600), Math.floor(value / 60) % 60, Math.floor(value) % 60];
  return `${hours}:${String(minutes).padStart(2, '0')}:${String(rest).padStart(2, '0')}`;
}
