import type { EpochMs } from '../../../shared/clock.js';
import type { Mirror } from '../mirror.js';

/** What has changed, in a line each, for people. */
export function narrate(before: Mirror, after: Mirror, now: EpochMs): string[] {
  const lines: string[] = [];
  const { trouble, job, phase } = after;
  if (trouble && trouble.kind !== before.trouble?.kind) {
    const seconds = Math.ceil((trouble.retryAt - now) / 1_000);
    const fate = phase.kind === 'watching' ? ', and the job goes on' : '';
    lines.push(`paused (${trouble.kind}): ${trouble.message}; tried again in ${seconds} s${fate}`);
  }
  if (!trouble && before.trouble) lines.push('goes on');
  if (phase.kind === 'watching' && before.phase.kind !== 'watching') {
    const how = before.phase.kind === 'submitting' ? 'submitted' : 'found';
    lines.push(`${how} as job ${phase.remoteId}`);
  }
  if (!job) return lines;
  if (job.requeueCount > (before.job?.requeueCount ?? 0)) lines.push(`job ${job.id} was put back into the queue there`);
  if (job.state !== before.job?.state || job.reason !== before.job.reason) {
    const where = job.nodes === '' ? '' : ` on ${job.nodes}`;
    const why = job.reason === '' ? '' : ` (${job.reason})`;
    lines.push(`job ${job.id} is ${job.state}${where}${why}`);
  }
  return lines;
}
