import { AppError, isAppError } from '../../shared/errors.js';
import { suggest } from '../../shared/suggest.js';
import type { JobPage, JobView, TaskView } from './api.js';
import { type ApiClient, segment } from './client.js';

/**
 * How a person names a job: `j42` or `42`, `last` (the newest), `@name` (the newest of that name), or the beginning of
 * an id that no other id has. `@name` with several jobs of the name is no error: the newest is what one means.
 * A task is a job and an index: `j42.7`, `last.7`, `@align.train.7`.
 */
export interface Selected {
  readonly job: JobView;
  /** The task as the API's paths have it, `7` or `train.7`; undefined when a whole job was named. */
  readonly task: string | undefined;
}

const TASK_SUFFIX = /^(.+?)\.((?:[a-z][a-z0-9-]*\.)?\d+)$/;
const JOB_ID = /^j?(\d+)$/;
const PREFIX_PAGES = 20;
const PAGE = 500;
const SHOWN_CANDIDATES = 5;

export async function selectJob(api: ApiClient, text: string): Promise<JobView> {
  const job = await findJob(api, text);
  if (job) return job;
  if (TASK_SUFFIX.test(text)) {
    throw new AppError('invalid-request', `"${text}" names a task; this command takes a job`, {
      hint: `write ${TASK_SUFFIX.exec(text)?.[1]}`,
    });
  }
  throw await notFound(api, text);
}

export async function selectJobOrTask(api: ApiClient, text: string): Promise<Selected> {
  const whole = await findJob(api, text);
  if (whole) return { job: whole, task: undefined };
  const match = TASK_SUFFIX.exec(text);
  const job = match?.[1] === undefined ? undefined : await findJob(api, match[1]);
  if (!job) throw await notFound(api, match?.[1] ?? text);
  return { job, task: match?.[2] };
}

export function taskPath(job: JobView, task: string): string {
  return `/jobs/${segment(job.id)}/tasks/${segment(task)}`;
}

export function getTask(api: ApiClient, job: JobView, task: string): Promise<TaskView> {
  return api.get(taskPath(job, task));
}

async function findJob(api: ApiClient, text: string): Promise<JobView | undefined> {
  if (text === 'last') return newest(api, {});
  if (text.startsWith('@')) return newest(api, { name: text.slice(1) });
  const number = JOB_ID.exec(text)?.[1];
  if (number === undefined) return undefined;
  return (await jobById(api, `j${number}`)) ?? (await jobByPrefix(api, `j${number}`));
}

async function newest(api: ApiClient, filter: { name?: string }): Promise<JobView | undefined> {
  let cursor: string | undefined;
  for (;;) {
    const page = await api.get<JobPage>('/jobs', { query: { limit: 1, cursor, ...filter } });
    // A page may be empty and not be the last: the coordinator looks at so many jobs for each answer.
    if (page.jobs.length > 0 || page.nextCursor === null) return page.jobs[0];
    cursor = page.nextCursor;
  }
}

async function jobById(api: ApiClient, id: string): Promise<JobView | undefined> {
  try {
    return await api.get<JobView>(`/jobs/${segment(id)}`);
  } catch (error) {
    if (isAppError(error, 'not-found')) return undefined;
    throw error;
  }
}

/** Looks among the newest PREFIX_PAGES * PAGE jobs. Throws `ambiguous` when the prefix fits several. */
async function jobByPrefix(api: ApiClient, prefix: string): Promise<JobView | undefined> {
  const found: JobView[] = [];
  let cursor: string | undefined;
  for (let page = 0; page < PREFIX_PAGES; page += 1) {
    const { jobs, nextCursor } = await api.get<JobPage>('/jobs', { query: { limit: PAGE, cursor } });
    found.push(...jobs.filter((job) => job.id.startsWith(prefix)));
    if (nextCursor === null) break;
    cursor = nextCursor;
  }
  if (found.length <= 1) return found[0];
  const names = found.slice(0, SHOWN_CANDIDATES).map((job) => job.id);
  const more = found.length > names.length ? ` and ${found.length - names.length} more` : '';
  throw new AppError('ambiguous', `"${prefix}" is the beginning of several ids: ${names.join(', ')}${more}`, {
    hint: 'write the whole id',
  });
}

async function notFound(api: ApiClient, text: string): Promise<AppError> {
  const page = await api.get<JobPage>('/jobs', { query: { limit: PAGE } });
  if (text === 'last') return new AppError('not-found', 'no job has been submitted yet');
  const name = text.startsWith('@') ? text.slice(1) : text;
  const near = suggest(name, [...new Set(page.jobs.map((job) => job.name))]);
  if (near !== undefined)
    return new AppError('not-found', `there is no job "${text}"`, { hint: `did you mean @${near}?` });
  return new AppError('not-found', `there is no job "${text}"`, {
    hint: 'name a job by its id (j42), its name (@align) or as `last`; `berth ls --all` lists them',
  });
}
