import type { JobState, MachineState } from '../../../shared/figure/cluster-figure.js';
import type { Span } from '../../../shared/figure/steps.js';
import type { ReportedJob, ReportView } from '../report-documents.js';

interface History {
  readonly jobs: readonly Span<JobState>[];
  readonly machines: readonly Span<MachineState>[];
  readonly fromMs: number;
  readonly untilMs: number;
}

/** What a report tells, in milliseconds from its beginning, as it is drawn. */
export function historyOf({ from, until, jobs, machines }: ReportView): History {
  const beginsAt = Date.parse(from);
  const untilMs = Date.parse(until) - beginsAt;
  const at = (time: string): number => Math.min(untilMs, Math.max(0, Date.parse(time) - beginsAt));
  return {
    jobs: jobs.flatMap((job) => jobSpans(job, at, untilMs)),
    machines: machines.map((span) => ({ state: span.state, fromMs: at(span.from), untilMs: at(span.until) })),
    fromMs: 0,
    untilMs,
  };
}

function jobSpans(
  { submittedAt, startedAt, finishedAt }: ReportedJob,
  at: (time: string) => number,
  untilMs: number,
): readonly Span<JobState>[] {
  const endMs = finishedAt === null ? untilMs : at(finishedAt);
  const startMs = startedAt === null ? endMs : at(startedAt);
  const waiting = { state: 'waiting', fromMs: at(submittedAt), untilMs: startMs } as const;
  return startedAt === null ? [waiting] : [waiting, { state: 'running', fromMs: startMs, untilMs: endMs }];
}
