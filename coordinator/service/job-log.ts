import { isRefusal, type Refusal } from '../../shared/errors.js';
import type { JobId } from '../../shared/ids.js';
import { attemptOf, JobFollower, type Wanted } from './job-follower.js';
import { gapsOf, type LogRecord, Tail } from './log-record.js';
import { type LogQuery, viewOf } from './log-view.js';
import { lookAtJob } from './look.js';
import { placedTasks } from './placed-tasks.js';
import type { Service } from './service.js';

export interface JobLogRequest {
  readonly jobId: string;
  readonly query: LogQuery;
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
  const wanted = await lookAtJob(service, jobId, (_view, job) => viewOf(job, request.query, service.clock.now()));
  if (isRefusal(wanted)) return wanted;
  const what = { jobId, wanted, signal: request.signal };
  return request.atEnd === 'follow' ? followed(service, what) : stored(service, what);
}

async function* stored(service: Service, { jobId, wanted, signal }: Wanted): AsyncGenerator<LogRecord> {
  for await (const newest of placedTasks(service, jobId)) {
    const ref = attemptOf(newest, wanted);
    if (ref === undefined) continue;
    yield* new Tail(ref, wanted).drain(service.logs, signal);
    yield* gapsOf(service, ref, wanted);
    if (signal.aborted) return;
  }
}

async function* followed(service: Service, what: Wanted): AsyncGenerator<LogRecord> {
  const follower = new JobFollower(service, what);
  try {
    yield* follower.records();
  } finally {
    follower.close();
  }
}
