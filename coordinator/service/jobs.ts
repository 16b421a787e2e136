import { createHash } from 'node:crypto';
import { isRefusal, type Refusal, refuse } from '../../shared/errors.js';
import type { JobId } from '../../shared/ids.js';
import { formatJobSpec } from '../../shared/job-spec/format.js';
import { parseJobSpec } from '../../shared/job-spec/parse.js';
import type { JobSpec } from '../../shared/job-spec/spec.js';
import { parseJobText } from '../../shared/job-spec/text.js';
import type { Job } from '../model/job.js';
import { refuseCancel, refuseHold, refuseRelease } from '../model/refuse-control.js';
import { refuseMissingArtifacts } from './artifacts-in-use.js';
import { noSuchJob } from './find.js';
import { Latch, raiseOnAbort } from './latch.js';
import { lookAtJob, lookAtTask } from './look.js';
import { type JobView, presentJob } from './present-job.js';
import { presentAttempts, presentTask, type TaskView } from './present-task.js';
import type { Service } from './service.js';
import { Explanations } from './waiting.js';

export interface Submission {
  /** The specification as a document, or as the text of a file. */
  readonly input:
    | { readonly kind: 'document'; readonly document: unknown }
    | { readonly kind: 'text'; readonly text: string };
  readonly by: string;
  /** The same key gives the same job for 24 hours (P2). */
  readonly key?: string | undefined;
}

export interface Submitted {
  readonly job: JobView;
  readonly isNew: boolean;
}

/** Accepts a job; resolved means it is durable (P1). */
export async function submitJob(service: Service, { input, by, key }: Submission): Promise<Submitted | Refusal> {
  const spec = await readSpec(input);
  if (isRefusal(spec)) return spec;
  const missing = (await service.remotes.refuse(spec)) ?? (await refuseMissingArtifacts(service, spec));
  if (missing) return missing;
  const reply = await service.engine.handle({
    type: 'submitJob',
    spec,
    by,
    ...(key === undefined ? {} : { key: { value: key, digest: digestOf(spec) } }),
  });
  if (isRefusal(reply)) return reply;
  if (reply.kind !== 'job') return refuse('internal', 'the submission was not answered with a job');
  const job = await showJob(service, reply.jobId);
  return isRefusal(job) ? job : { job, isNew: reply.isNew };
}

export async function readSpec(input: Submission['input']): Promise<JobSpec | Refusal> {
  return input.kind === 'text' ? await parseJobText(input.text) : parseJobSpec(input.document);
}

export function showJob(service: Service, jobId: string): Promise<JobView | Refusal> {
  return lookAtJob(service, jobId, (view, job) => presentJob(job, new Explanations(view, service)));
}

/** The job's specification in its published canonical form. */
export function showSpec(service: Service, jobId: string): Promise<object | Refusal> {
  return lookAtJob(service, jobId, (_view, { spec }) => formatJobSpec(spec));
}

/** A task with all its attempts; `name` is `7` or `train.7`. */
export function showTask(service: Service, jobId: string, name: string): Promise<TaskView | Refusal> {
  return lookAtTask<TaskView | Refusal>(service, { jobId, task: name }, (view, place, attempts) => {
    const task = presentTask(attempts, place, new Explanations(view, service));
    return task ? { ...task, attempts: presentAttempts(attempts, place) } : noSuchJob(jobId);
  });
}

/** Held-open questions and open streams that wait for something of a job; more are refused. */
const MAX_WAITERS = 10_000;

export interface Patience {
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** The job as soon as it is finished, or as it stands when the time is up or the signal aborts. */
export async function waitUntilFinished(
  service: Service,
  jobId: string,
  { timeoutMs, signal }: Patience,
): Promise<JobView | Refusal> {
  const { watch, clock } = service;
  if (watch.listenerCount >= MAX_WAITERS) return refuse('too-many-streams', `${MAX_WAITERS} requests wait already`);
  const latch = new Latch();
  const raise = (): void => latch.raise();
  const cancels = [
    watch.on(jobId as JobId, ({ type }) => {
      if (type === 'job.finished') raise();
    }),
    raiseOnAbort(latch, signal),
    clock.after(timeoutMs, raise),
  ];
  try {
    const job = await showJob(service, jobId);
    if (isRefusal(job) || job.state === 'finished') return job;
    await latch.wait();
    return await showJob(service, jobId);
  } finally {
    for (const cancel of cancels) cancel();
  }
}

/** Resolved means durable: from then on nothing of the job starts anew (P8). */
export async function cancelJob(
  service: Service,
  jobId: string,
  { reason, by }: { readonly reason: string; readonly by: string },
): Promise<JobView | Refusal> {
  const reply = await service.engine.handle({ type: 'cancelJob', jobId: jobId as JobId, reason, by });
  return isRefusal(reply) ? orWhyFinished(service, jobId, reply, refuseCancel) : showJob(service, jobId);
}

export async function holdJob(service: Service, jobId: string): Promise<JobView | Refusal> {
  const reply = await service.engine.handle({ type: 'holdJob', jobId: jobId as JobId });
  return isRefusal(reply) ? orWhyFinished(service, jobId, reply, refuseHold) : showJob(service, jobId);
}

export async function releaseJob(service: Service, jobId: string): Promise<JobView | Refusal> {
  const reply = await service.engine.handle({ type: 'releaseJob', jobId: jobId as JobId });
  return isRefusal(reply) ? orWhyFinished(service, jobId, reply, refuseRelease) : showJob(service, jobId);
}

/** The rules know what is in memory; of a finished job that has left it they say that there is none. */
async function orWhyFinished(
  service: Service,
  jobId: string,
  refusal: Refusal,
  refuseIt: (job: Job) => Refusal | undefined,
): Promise<Refusal> {
  if (refusal.refused !== 'not-found') return refusal;
  const past = await service.engine.archive.pastJob(jobId as JobId);
  return (past && refuseIt(past)) ?? refusal;
}

/** Two submissions of equal canonical form are the same request, however they were written. */
function digestOf(spec: JobSpec): string {
  return createHash('sha256').update(JSON.stringify(spec, sortedKeys)).digest('hex');
}

function sortedKeys(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1)));
}
