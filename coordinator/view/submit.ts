import type { JobSpec } from '../../shared/job-spec/spec.js';
import type { JobView } from './api.js';
import { isConnectionRefused } from './client.js';
import { type Context, remark } from './context.js';
import { untilAnswered } from './retry.js';

/** After a request was lost: long enough for a coordinator's restart. */
const LOST_MS = 30_000;
/** Nothing listens there: most likely nothing will. */
const REFUSED_MS = 5_000;
const KEY_BYTES = 16;

/**
 * Submits the job once, however often the request must be repeated: all tries carry the same Idempotency-Key.
 *
 * Throws: `unreachable` after LOST_MS; the coordinator's refusal.
 */
export async function submitSpec(context: Context, spec: JobSpec): Promise<JobView> {
  const { formatJobSpec } = await import('../../shared/job-spec/format.js');
  await context.api.locate();
  const headers = { 'idempotency-key': context.random.token(KEY_BYTES) };
  const body = formatJobSpec(spec);
  let wasSent = false;
  const answer = await untilAnswered(
    context,
    () => context.api.document<{ job: JobView }>({ method: 'POST', path: '/jobs', body, headers }),
    {
      limitMs: (error) => {
        wasSent ||= !isConnectionRefused(error);
        return wasSent ? LOST_MS : REFUSED_MS;
      },
    },
  );
  return answer.job;
}

/** Tells a person what to do next, and a program only the id. */
export function announce(context: Context, job: JobView): void {
  if (!context.out.isTerminal || !context.err.isTerminal) {
    context.out.write(`${job.id}\n`);
    return;
  }
  const tasks = job.taskCount === 1 ? '' : `, ${job.taskCount} tasks`;
  remark(context, `submitted ${job.id} (${job.name}${tasks}); follow it with: berth logs -f ${job.id}`);
}
