import { SPEC_LIMITS } from '../../shared/job-spec/spec.js';
import { eachIndex, parseRanges, type RangeSet, rangesCount } from '../../shared/ranges.js';
import type { HpcBackend, RemoteFiles } from './backend.js';
import { explainEnd, saysLittle } from './explain-end.js';
import { jobOfMarks, type Marks, readMarks, withForgottenTasks } from './marks.js';
import { jobOfTasks, type RemoteJob, type RemoteOutcome, type RemoteTask } from './remote-job.js';
import { MARKS_FOLDER, type Submission } from './submission.js';

/**
 * What is known of a job, by whoever knows it best: the controller, what was seen of a task before, accounting, and last
 * the marks that the job left in its work directory, which tell an exit status and nothing else of how it ended.
 */

/** The remote side of one mirror. */
export interface Remote {
  readonly backend: HpcBackend;
  readonly submission: Submission;
  /** The job as last seen. */
  readonly before: RemoteJob | null;
}

/** A job by its id, as one call for many told it; undefined when the controller does not know it. */
export interface Sighting {
  readonly id: string;
  readonly job: RemoteJob | undefined;
}

/** A job as far as it can be known; undefined when nobody knows it. */
type Known = RemoteJob | undefined;

/** Asks nobody while the controller tells all of it. */
export async function judge({ id, job }: Sighting, remote: Remote, signal: AbortSignal): Promise<Known> {
  const seen = withSeenTasks(job, remote);
  if (isSettled(seen, remote)) return seen;
  const accounted = isWhole(seen, remote.submission)
    ? undefined
    : await remote.backend.accounting?.endedOf([id], signal);
  return conclude({ seen, accounted: accounted?.get(id) }, remote, signal);
}

export interface Told {
  /** By the controller, now and before. */
  readonly seen: RemoteJob | undefined;
  readonly accounted: RemoteJob | undefined;
}

/** The same, once accounting has been asked for what the controller does not tell. */
export async function conclude({ seen, accounted }: Told, remote: Remote, signal: AbortSignal): Promise<Known> {
  const { backend, submission } = remote;
  const told = accounted ? withAccounted(seen, accounted, submission) : seen;
  if (isSettled(told, remote)) return told;
  const marks = await marksOf(backend.files, submission, signal);
  const indexes = [...eachIndex(indexesOf(submission))];
  if (!told) return jobOfMarks(marks, submission.tag, indexes);
  const whole = isWhole(told, submission) ? told : withForgottenTasks(told, marks, indexes);
  return explained(whole, marks, remote, signal);
}

/** An array with those of its tasks that had ended before, as they were seen then: the controller forgets them. */
export function withSeenTasks(job: RemoteJob | undefined, { before }: Pick<Remote, 'before'>): RemoteJob | undefined {
  const ended = (before?.tasks ?? []).filter(({ state }) => state === 'ended');
  if (!job || ended.length === 0) return job;
  const seen = new Map(ended.map((task) => [task.index, task]));
  const tasks = job.tasks.map((task) => (task.state === 'ended' ? (seen.get(task.index) ?? task) : task));
  return withTasks(jobOfTasks(job.id, job.tag, tasks), ended);
}

/** Whether all of it is told, and enough of how each part has ended. */
export function isSettled(
  job: RemoteJob | undefined,
  { submission, before }: Pick<Remote, 'submission' | 'before'>,
): boolean {
  if (!job || !isWhole(job, submission)) return false;
  if (submission.options.array === undefined) return !saysLittle(job.outcome);
  const seen = new Set((before?.tasks ?? []).flatMap(({ index, state }) => (state === 'ended' ? [index] : [])));
  return job.tasks.every(({ index, outcome }) => seen.has(index) || !saysLittle(outcome));
}

function withAccounted(seen: RemoteJob | undefined, accounted: RemoteJob, submission: Submission): RemoteJob {
  if (accounted.tasks.length > 0 || submission.options.array === undefined) {
    return seen ? withTasks(seen, accounted.tasks) : accounted;
  }
  // An array that ended before any task was taken out of it.
  const { state, reason, nodes, requeueCount, outcome } = accounted;
  const indexes = [...eachIndex(indexesOf(submission))];
  const tasks = indexes.map((index) => ({ index, state, reason, nodes, requeueCount, outcome }));
  return withTasks(seen ?? accounted, tasks);
}

function withTasks(job: RemoteJob, more: readonly RemoteTask[]): RemoteJob {
  const present = new Set(job.tasks.map(({ index }) => index));
  const missing = more.filter(({ index }) => !present.has(index));
  return missing.length === 0 ? job : jobOfTasks(job.id, job.tag, [...job.tasks, ...missing]);
}

/** The job with what its work directory tells of ends that say little. */
async function explained(
  job: RemoteJob,
  marks: Marks,
  { backend: { files }, submission }: Remote,
  signal: AbortSignal,
): Promise<RemoteJob> {
  const explain = (outcome: RemoteOutcome | null, index: number | null): Promise<RemoteOutcome | null> =>
    saysLittle(outcome)
      ? explainEnd({ outcome, index, marks, work: submission.work }, files, signal)
      : Promise.resolve(outcome);
  if (submission.options.array === undefined) return { ...job, outcome: await explain(job.outcome, null) };
  const tasks: RemoteTask[] = [];
  for (const task of job.tasks) tasks.push({ ...task, outcome: await explain(task.outcome, task.index) });
  return jobOfTasks(job.id, job.tag, tasks);
}

export async function marksOf(files: RemoteFiles, { work }: Submission, signal: AbortSignal): Promise<Marks> {
  return readMarks(await files.list(`${work}/${MARKS_FOLDER}`, signal));
}

export function indexesOf({ options }: Pick<Submission, 'options'>): RangeSet {
  const ranges = parseRanges(options.array ?? '0', SPEC_LIMITS.maxTasksPerStep);
  return typeof ranges === 'string' ? [] : ranges;
}

/** Whether all of it is told. */
export function isWhole(job: RemoteJob | undefined, submission: Submission): boolean {
  if (!job) return false;
  return submission.options.array === undefined || job.tasks.length >= rangesCount(indexesOf(submission));
}
