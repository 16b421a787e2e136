import { AppError, isRefusal } from '../../shared/errors.js';
import { MAIN_STEP } from '../../shared/ids.js';
import { parseJobSpec } from '../../shared/job-spec/parse.js';
import { parsePoolsText } from '../../shared/pool-spec/text.js';
import type { JobPage, JobView, TaskPage, TaskView } from '../view/api.js';
import { type ApiClient, segment } from '../view/client.js';
import type { Arrival, Scenario } from './scenario.js';

const PAGE = 200;
/** A longer history is cut to its newest part. */
const MAX_JOBS = 20_000;
const SAMPLED_TASKS = 20;

interface HistoryOptions {
  readonly poolsText: string;
  /** Epoch ms; jobs that were submitted since. */
  readonly since: number;
}

/**
 * The finished jobs of a coordinator as a scenario: submitted as they were, and running for as long as they did.
 *
 * Throws what the API throws, and `invalid-spec` for the pools.
 */
export async function historyScenario(api: ApiClient, { poolsText, since }: HistoryOptions): Promise<Scenario> {
  const pools = parsePoolsText(poolsText);
  if (isRefusal(pools)) throw AppError.fromRefusal(pools);
  const jobs = await jobsSince(api, since);
  const [first] = jobs;
  if (!first) throw new AppError('not-found', 'the coordinator knows no finished job of that time');
  const beginsAt = Date.parse(first.submittedAt);
  const arrivals: Arrival[] = [];
  for (const job of jobs) arrivals.push(...(await arrivalOf(api, job, beginsAt)));
  return { windowMs: null, seed: 1, jitter: 0, pools, arrivals, failures: [] };
}

/** Oldest first. */
async function jobsSince(api: ApiClient, since: number): Promise<readonly JobView[]> {
  const found: JobView[] = [];
  for (let cursor: string | undefined; found.length < MAX_JOBS; ) {
    const page = await api.get<JobPage>('/jobs', { query: { state: 'finished', limit: PAGE, cursor } });
    const recent = page.jobs.filter(({ submittedAt }) => Date.parse(submittedAt) >= since);
    found.push(...recent);
    if (page.nextCursor === null || recent.length < page.jobs.length) break;
    cursor = page.nextCursor;
  }
  return found.reverse();
}

/** Nothing for a job of which nothing ever ran. */
async function arrivalOf(api: ApiClient, job: JobView, beginsAt: number): Promise<readonly Arrival[]> {
  if (job.startedAt === null || job.finishedAt === null) return [];
  const spec = parseJobSpec(await api.get(`/jobs/${segment(job.id)}/spec`));
  if (isRefusal(spec)) throw AppError.fromRefusal(spec);
  const runMs =
    job.taskCount === 1 ? Date.parse(job.finishedAt) - Date.parse(job.startedAt) : await meanRunMs(api, job.id);
  return [{ id: job.id, type: job.name, submitMs: Date.parse(job.submittedAt) - beginsAt, runMs, spec }];
}

/** Of the first tasks of a job that has many. */
async function meanRunMs(api: ApiClient, jobId: string): Promise<number> {
  const path = `/jobs/${segment(jobId)}/tasks`;
  const { tasks } = await api.get<TaskPage>(path, { query: { limit: SAMPLED_TASKS } });
  const ran: number[] = [];
  for (const { index, step } of tasks) {
    const task = await api.get<TaskView>(`${path}/${segment(step === MAIN_STEP ? String(index) : `${step}.${index}`)}`);
    const ranMs = task.attempts?.at(-1)?.ranMs;
    if (typeof ranMs === 'number') ran.push(ranMs);
  }
  return Math.round(ran.reduce((sum, each) => sum + each, 0) / Math.max(1, ran.length));
}
