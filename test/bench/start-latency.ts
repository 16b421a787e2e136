import type { Cluster } from '../kit/cluster.js';

const JOB_LIMIT_MS = 60_000;

export interface StartedJob {
  readonly jobId: string;
  readonly submittedAt: number;
  readonly commandMs: number;
}

/**
 * Milliseconds from the POST of a job until its command runs.
 *
 * The command is `date`, which says when it runs; it is on the same machine, so that both times are of one clock.
 */
export async function startOne({ api }: Cluster): Promise<StartedJob> {
  const submittedAt = Date.now();
  const job = await api.submit({ name: 'latency', command: ['date', '+%s%N'] });
  await api.finished(job.id, JOB_LIMIT_MS);
  const output = await api.request('GET', `/v1/jobs/${job.id}/tasks/0/logs?stream=stdout&follow=true`);
  return { jobId: job.id, submittedAt, commandMs: Number(output.text) / 1e6 - submittedAt };
}
