import Type, { type Static } from 'typebox';
import type { EpochMs } from '../../shared/clock.js';
import { isRefusal, type Refusal, refuse } from '../../shared/errors.js';
import { type WaitFigures, waitFigures } from '../../shared/wait-figures.js';
import type { Job } from '../model/job.js';
import { type MachineSpan, machineSpans, type Window } from '../model/ledger.js';
import { powerCycles } from '../model/power-cycle.js';
import { servedIn } from './receipt.js';
import { poolReportSchema, reportPools } from './report-pools.js';
import { instant, instantOrNull, nullable, oneOf, time } from './schemas.js';
import type { Service } from './service.js';
import { timeOf } from './time-text.js';

const count = Type.Integer({ minimum: 0 });
const milliseconds = Type.Number({ minimum: 0 });

const waitSchema = Type.Object(
  { count, meanMs: milliseconds, p50Ms: milliseconds, p95Ms: milliseconds, maxMs: milliseconds },
  { description: 'From submission to the first start, of the jobs that were submitted in this time and have started.' },
);

export const reportSchema = Type.Object({
  from: time('The beginning of the time that is reported.'),
  until: time('Its end.'),
  machinesSince: nullable(time('The first that is known of machines.')),
  jobsLeftOut: Type.Boolean({ description: 'There were more jobs than a report tells of: the oldest are missing.' }),
  waits: Type.Object({
    all: nullable(waitSchema),
    byName: Type.Array(Type.Intersect([Type.Object({ name: Type.String() }), waitSchema]), {
      description: 'By the name of the jobs, the most frequent first.',
    }),
  }),
  pools: Type.Array(poolReportSchema),
  jobs: Type.Array(
    Type.Object({
      id: Type.String(),
      name: Type.String(),
      submittedAt: time('When it was accepted.'),
      startedAt: nullable(time('When the first of its tasks ran.')),
      finishedAt: nullable(time('When it was done.')),
      outcome: nullable(oneOf(['succeeded', 'failed', 'canceled'])),
    }),
    { description: 'Those that waited or ran in this time, by their submission.' },
  ),
  machines: Type.Array(
    Type.Object({
      machine: Type.String(),
      node: Type.String(),
      pool: Type.String(),
      state: oneOf(['booting', 'resuming', 'busy', 'idle', 'switching off', 'suspended']),
      from: time('Since when.'),
      until: time('Until when.'),
    }),
    { description: 'What the machines of pools did.' },
  ),
});
export type ReportView = Static<typeof reportSchema>;

/** Jobs that one report tells of, the newest; with them, names whose waits are told by themselves. */
const MAX_JOBS = 20_000;
const MAX_NAMES = 50;
const PAGE = 1_000;

/** Jobs and machines over a time. Cost: O(jobs and ledger entries of it). */
export async function reportTime(
  service: Service,
  asked: { readonly since: string; readonly until?: string | undefined },
): Promise<ReportView | Refusal> {
  const now = service.clock.now();
  const window = windowOf(asked, now);
  if (isRefusal(window)) return window;
  const entries = service.machines.history();
  const spans = machineSpans(entries, window);
  const { jobs, isCut } = await jobsIn(service, window);
  const cycles = powerCycles(entries, now);
  const pools = await service.engine.read((view) => {
    return reportPools(view, { entries, spans, cycles, window, servedIn: (cycle) => servedIn(view, cycle, now) });
  });
  return {
    from: instant(window.from),
    until: instant(window.until),
    machinesSince: instantOrNull(entries[0]?.at),
    jobsLeftOut: isCut,
    waits: waitsOf(jobs.filter(({ submittedAt }) => submittedAt >= window.from && submittedAt < window.until)),
    pools,
    jobs: jobs.map(presentJob),
    machines: spans.map(presentSpan),
  };
}

function windowOf(
  { since, until }: { readonly since: string; readonly until?: string | undefined },
  now: EpochMs,
): Window | Refusal {
  const from = timeOf(since, now);
  if (typeof from === 'string') return refuseTime('since', from);
  const end = until === undefined ? now : timeOf(until, now);
  if (typeof end === 'string') return refuseTime('until', end);
  if (from < Math.min(end, now)) return { from, until: Math.min(end, now) };
  return refuseTime('since', 'the report would end before it begins; give a time that is past, and before until');
}

function refuseTime(field: string, message: string): Refusal {
  return refuse('invalid-request', `${field}: ${message}`, { problems: [{ field, message }] });
}

/** The oldest first. */
async function jobsIn({ engine }: Service, window: Window): Promise<{ readonly jobs: readonly Job[]; isCut: boolean }> {
  const seen = await engine.read((view) => ({ jobs: [...view.jobs.values()], next: view.nextJobSequence }));
  const found = new Map(seen.jobs.filter((job) => isIn(job, window)).map((job) => [job.sequence, job]));
  for (let below = seen.next; found.size < MAX_JOBS; ) {
    const { jobs } = await engine.archive.pastJobs({ below, from: 1, limit: PAGE });
    const matching = jobs.filter((job) => isIn(job, window));
    for (const job of matching) found.set(job.sequence, job);
    const last = jobs.at(-1);
    // What is older has ended before, but for jobs that were overtaken by a whole page of others.
    if (!last || (matching.length === 0 && last.submittedAt < window.from)) break;
    below = last.sequence;
  }
  const jobs = [...found.values()].sort((left, right) => left.sequence - right.sequence);
  return { jobs: jobs.slice(-MAX_JOBS), isCut: jobs.length > MAX_JOBS };
}

function isIn(job: Job, { from, until }: Window): boolean {
  return job.submittedAt < until && (job.phase.kind !== 'finished' || job.phase.at >= from);
}

function waitsOf(jobs: readonly Job[]): ReportView['waits'] {
  const byName = new Map<string, number[]>();
  const all: number[] = [];
  for (const { spec, submittedAt, startedAt } of jobs) {
    if (startedAt === undefined) continue;
    const waitMs = Math.max(0, startedAt - submittedAt);
    all.push(waitMs);
    const known = byName.get(spec.name);
    if (known) known.push(waitMs);
    else byName.set(spec.name, [waitMs]);
  }
  const named = [...byName].sort(([, left], [, right]) => right.length - left.length).slice(0, MAX_NAMES);
  return {
    all: all.length === 0 ? null : presentWaits(all),
    byName: named.map(([name, waits]) => ({ name, ...presentWaits(waits) })),
  };
}

function presentWaits(waitsMs: readonly number[]): Static<typeof waitSchema> {
  const { mean, p50, p95, max }: WaitFigures = waitFigures(waitsMs);
  return { count: waitsMs.length, meanMs: Math.round(mean), p50Ms: p50, p95Ms: p95, maxMs: max };
}

function presentJob({ id, spec, submittedAt, startedAt, phase }: Job): ReportView['jobs'][number] {
  const finished = phase.kind === 'finished' ? phase : undefined;
  return {
    id,
    name: spec.name,
    submittedAt: instant(submittedAt),
    startedAt: instantOrNull(startedAt),
    finishedAt: instantOrNull(finished?.at),
    outcome: finished?.outcome ?? null,
  };
}

function presentSpan({ machine, node, pool, state, from, until }: MachineSpan): ReportView['machines'][number] {
  return { machine, node, pool, state, from: instant(from), until: instant(until) };
}
