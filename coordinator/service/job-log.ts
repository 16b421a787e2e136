import type { Refusal } from '../../shared/errors.js';
import type { JobId } from '../../shared/ids.js';
import { noSuchJob } from './find.js';
import { JobFollower } from './job-follower.js';
import { gapsOf, type LogRecord, Tail } from './log-record.js';
import { placedTasks } from './placed-tasks.js';
import type { Service } from './service.js';

export interface JobLogRequest {
  readonly jobId: string;
  /** `follow` goes on until the job is finished and its output has arrived; `stop` ends with what has arrived. */
  readonly atEnd: 'follow' | 'stop';
  readonly signal: AbortSignal;
}

/**
 * The output of all tasks of a job: first, in task order, what the newest attempts have written; then, when following,
 * what arrives of these and of later attempts, as it arrives. The records stop early when the signal aborts.
 */
export async function openJobLog(
  service: Service,
  request: JobLogRequest,
): Promise<AsyncGenerator<LogRecord> | Refusal> {
  const jobId = request.jobId as JobId;
  const isKnown = await service.engine.read((view) => view.jobs.has(jobId));
  if (!isKnown) return noSuchJob(jobId);
  return request.atEnd === 'follow' ? followed(service, jobId, request.signal) : stored(service, jobId, request.signal);
}

async function* stored(service: Service, jobId: JobId, signal: AbortSignal): AsyncGenerator<LogRecord> {
  for await (const ref of placedTasks(service, jobId)) {
    yield* new Tail(ref).drain(service.logs, signal);
    yield* gapsOf(service, ref);
    if (signal.aborted) return;
  }
}

async function* followed(service: Service, jobId: JobId, signal: AbortSignal): AsyncGenerator<LogRecord> {
  const follower = new JobFollower(service, jobId, signal);
  try {
    yield* follower.records();
  } finally {
    follower.close();
  }
}
