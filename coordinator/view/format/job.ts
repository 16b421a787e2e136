import type { EpochMs } from '../../../shared/clock.js';
import { roughDuration } from '../../../shared/units.js';
import type { Counts, JobView, StepView } from '../api.js';
import type { Colors } from '../context.js';
import type { Column } from './table.js';
import { age, localTime } from './time.js';

/** A job's state in the word that a reader wants: its outcome once finished, `running` or `waiting` before. */
export function jobState(job: JobView): string {
  if (job.outcome !== null) return job.outcome;
  if (job.state !== 'active') return job.state;
  return job.counts.placed > 0 ? 'running' : 'waiting';
}

export function doneCount(counts: Counts): number {
  return counts.succeeded + counts.failed + counts.canceled + counts.dropped;
}

/** `j42 failed (exit code 7): the reason`. */
export function jobEnding(job: JobView): string {
  const code = job.exitCode === null || job.exitCode === 0 ? '' : ` (exit code ${job.exitCode})`;
  return `${job.id} ${jobState(job)}${code}${job.reason === null ? '' : `: ${job.reason}`}`;
}

/** Only the counts that are not zero: `40 queued, 3 running, 1 failed`. */
export function countsText(counts: Counts): string {
  const named: readonly (readonly [string, number])[] = [
    ['blocked', counts.blocked],
    ['queued', counts.queued],
    ['running', counts.placed],
    ['succeeded', counts.succeeded],
    ['failed', counts.failed],
    ['canceled', counts.canceled],
    ['dropped', counts.dropped],
  ];
  return named
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${count} ${name}`)
    .join(', ');
}

export function jobColumns(now: EpochMs): readonly Column<JobView>[] {
  return [
    { title: 'ID', text: (job) => job.id },
    { title: 'NAME', text: (job) => job.name },
    { title: 'NAMESPACE', text: (job) => job.namespace, isWide: true },
    { title: 'PRIORITY', text: (job) => String(job.priority), align: 'right', isWide: true },
    { title: 'STATE', text: jobState, paint: (text, job, colors) => paintState(text, jobState(job), colors) },
    { title: 'DONE', text: (job) => `${doneCount(job.counts)}/${job.taskCount}`, align: 'right' },
    { title: 'EXIT', text: (job) => (job.exitCode === null ? '-' : String(job.exitCode)), align: 'right' },
    { title: 'AGE', text: (job) => age(job.submittedAt, now), align: 'right' },
    { title: 'RAN', text: (job) => ranFor(job, now), align: 'right' },
    { title: 'SUBMITTED', text: (job) => localTime(job.submittedAt), isWide: true },
    { title: 'BY', text: (job) => job.submittedBy, isWide: true },
    { title: 'LABELS', text: (job) => labelsText(job.labels), isWide: true },
    { title: 'REASON', text: (job) => job.waitingReason ?? job.reason ?? '-' },
  ];
}

export function stepColumns(): readonly Column<StepView>[] {
  return [
    { title: 'STEP', text: (step) => step.name },
    { title: 'STATE', text: (step) => step.state },
    { title: 'ARRAY', text: (step) => step.array },
    { title: 'NEEDS', text: (step) => step.needs.join(', ') },
    { title: 'TASKS', text: (step) => countsText(step.counts) },
  ];
}

export function jobFields(job: JobView, now: EpochMs): readonly (readonly [string, string | null])[] {
  return [
    ['Job', job.id],
    ['Name', job.name],
    ['Namespace', job.namespace],
    ['Priority', String(job.priority)],
    ['Labels', labelsText(job.labels)],
    ['State', jobState(job)],
    ['Reason', job.reason],
    ['Waiting', job.waitingReason],
    ['Exit code', job.exitCode === null ? null : String(job.exitCode)],
    ['Tasks', countsText(job.counts)],
    ['Submitted', `${localTime(job.submittedAt)} by ${job.submittedBy}`],
    ['Started', job.startedAt && localTime(job.startedAt)],
    ['Finished', job.finishedAt && localTime(job.finishedAt)],
    ['Ran', job.startedAt && ranFor(job, now)],
  ];
}

export function labelsText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => (value === '' ? key : `${key}=${value}`))
    .join(',');
}

export function paintState(text: string, state: string, colors: Colors): string {
  switch (state) {
    case 'succeeded':
    case 'ready':
      return colors.green(text);
    case 'failed':
    case 'lost':
    case 'dropped':
      return colors.red(text);
    case 'running':
    case 'placed':
      return colors.cyan(text);
    case 'canceled':
    case 'departed':
      return colors.dim(text);
    default:
      return colors.yellow(text);
  }
}

function ranFor(job: JobView, now: EpochMs): string {
  if (job.startedAt === null) return '-';
  const end = job.finishedAt === null ? now : Date.parse(job.finishedAt);
  return roughDuration(end - Date.parse(job.startedAt));
}
