import { readFileSync } from 'node:fs';

/**
 * The founding experiment, for real: submits the 40 jobs of Table 4 to a running coordinator at their times, made
 * shorter by `--speedup`, waits for the last, and prints what they waited and what the machines were on.
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
}

interface Run {
  readonly arrival: Arrival;
  readonly waitSeconds: number;
  readonly endSeconds: number;
}

const [url = '', token = '', arrivalsFile = '', speedupText = '60'] = process.argv.slice(2);
const speedup = Number(speedupText);

const arrivals = readArrivals(readFileSync(arrivalsFile, 'utf8'));
const beganAt = Date.now();
const ids = await Promise.all(arrivals.map(submitInTime));
const jobs = await finished(ids);
report(arrivals.map((arrival, position) => runOf(arrival, jobs[position])));
await reportMachines();

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

function report(runs: readonly Run[]): void {
  const waits = (type?: JobType): number[] =>
    runs.filter(({ arrival }) => !type || arrival.type === type).map(({ waitSeconds }) => waitSeconds);
  const rows = [
    ['', 'Berth', 'CLUES, simulated', 'the paper'],
    ['small jobs waited, mean', seconds(mean(waits('small'))), '5 s', ''],
    ['small jobs waited, most', seconds(Math.max(...waits('small'))), '116 s', ''],
    ['large jobs waited, mean', seconds(mean(waits('large'))), '812 s', ''],
    ['all jobs waited, mean', seconds(mean(waits())), '105.7 s', ''],
    ['most waiting at once', String(mostWaiting(runs)), '4', '10'],
    ['all done after', clock(Math.max(...runs.map(({ endSeconds }) => endSeconds))), '1:51:10', 'about 2:00:00'],
  ];
  printRows(rows);
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
async function reportMachines(): Promise<void> {
  const { pools } = await ask<{ pools: readonly PoolDocument[] }>('GET', '/v1/pools');
  const elapsedHours = ((Date.now() - beganAt) / 3_600_000) * speedup;
  const measured = pools.reduce((sum, { totals }) => sum + totals.onMs, 0) / 3_600_000;
  const hours = measured * speedup + Math.max(0, WINDOW_HOURS - elapsedHours);
  const count = (name: 'powerOnCount' | 'failedPowerOnCount'): number =>
    pools.reduce((sum, { totals }) => sum + totals[name], 0);
  printRows([
    ['node-hours', hours.toFixed(2), '6.08', ''],
    ['power-ons, failed', `${count('powerOnCount')}, ${count('failedPowerOnCount')}`, '9, 3', ''],
  ]);
}

function printRows(rows: readonly (readonly string[])[]): void {
  const widths = [26, 10, 18, 14];
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
