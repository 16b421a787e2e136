import { SPEC_LIMITS } from '../../shared/job-spec/spec.js';
import { eachIndex, parseRanges, type RangeSet, rangesCount } from '../../shared/ranges.js';
import { asHpcError, type HpcBackend, type RemoteFiles } from './backend.js';
import { idOfMarks, jobOfMarks, type Marks, readMarks, withForgottenTasks } from './marks.js';
import type { MirrorResult, MirrorStep } from './mirror-policy.js';
import type { RemoteJob } from './remote-job.js';
import { MARKS_FOLDER, type Submission } from './submission.js';

/** The remote side of one mirror. */
export interface Remote {
  readonly backend: HpcBackend;
  readonly submission: Submission;
  /** The job as last seen. */
  readonly before: RemoteJob | null;
}

/** Does what the policy says, and tells what came of it; never throws. `wait` and `done` are the caller's. */
export async function performStep(step: MirrorStep, remote: Remote, signal: AbortSignal): Promise<MirrorResult> {
  try {
    return await perform(step, remote, signal);
  } catch (error) {
    const { kind, message } = asHpcError(error, step.kind);
    return { kind: 'failed', step, error: { kind, message } };
  }
}

async function perform(step: MirrorStep, remote: Remote, signal: AbortSignal): Promise<MirrorResult> {
  const { backend, submission } = remote;
  switch (step.kind) {
    case 'find':
      return { kind: 'found', jobs: await findJobs(remote, signal) };
    case 'submit':
      return { kind: 'submitted', remoteId: await backend.submit(submission, signal) };
    case 'cancel':
      await backend.cancel(step.remoteId, signal);
      return { kind: 'cancel-sent', remoteId: step.remoteId };
    case 'poll': {
      const jobs = await backend.statusOf([step.remoteId], signal);
      return { kind: 'status', job: await judge(jobs.get(step.remoteId), remote, signal) };
    }
    case 'wait':
    case 'done':
      throw new Error(`a ${step.kind} is nothing to perform`);
  }
}

/**
 * The job as far as it can be known, after one call for many has answered.
 *
 * What the system has forgotten, all of the job or some tasks of an array, is looked up in the work directory.
 */
export async function judge(
  job: RemoteJob | undefined,
  { backend, submission, before }: Remote,
  signal: AbortSignal,
): Promise<RemoteJob | undefined> {
  if (isWhole(job, submission)) return job;
  const indexes = indexesOf(submission);
  const marks = await marksOf(backend.files, submission, signal);
  if (job) return withForgottenTasks(job, marks, { before, indexes: eachIndex(indexes) });
  return jobOfMarks(marks, submission.tag, eachIndex(indexes));
}

async function findJobs(remote: Remote, signal: AbortSignal): Promise<readonly RemoteJob[]> {
  const { backend, submission } = remote;
  const [first, ...others] = await backend.find(submission.tag, signal);
  if (first) return [(await judge(first, remote, signal)) ?? first, ...others];
  const marks = await marksOf(backend.files, submission, signal);
  const id = idOfMarks(marks);
  if (id === undefined) return [];
  const ended = jobOfMarks(marks, submission.tag, eachIndex(indexesOf(submission)));
  // It has begun and is not known any more: polls will say that it is lost, unless it is found after all.
  return [ended ?? begun(id, submission.tag)];
}

function begun(id: string, tag: string): RemoteJob {
  return { id, tag, state: 'running', reason: '', nodes: '', requeueCount: 0, outcome: null, tasks: [] };
}

async function marksOf(files: RemoteFiles, { work }: Submission, signal: AbortSignal): Promise<Marks> {
  return readMarks(await files.list(`${work}/${MARKS_FOLDER}`, signal));
}

export function indexesOf({ options }: Pick<Submission, 'options'>): RangeSet {
  const ranges = parseRanges(options.array ?? '0', SPEC_LIMITS.maxTasksPerStep);
  return typeof ranges === 'string' ? [] : ranges;
}

/** Whether the system tells of all of it. */
export function isWhole(job: RemoteJob | undefined, submission: Submission): boolean {
  if (!job) return false;
  return submission.options.array === undefined || job.tasks.length >= rangesCount(indexesOf(submission));
}
