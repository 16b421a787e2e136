import { drawCluster, type JobState } from '../../shared/figure/cluster-figure.js';
import type { Span } from '../../shared/figure/steps.js';
import type { History, JobHistory } from './measure.js';

/** The history's jobs and nodes by state over time, as an SVG document. */
export function drawHistory(history: History, windowMs: number | null): string {
  const untilMs = windowMs ?? history.endMs;
  const jobs = history.jobs.flatMap((job) => spansOf(job, history.endMs));
  return drawCluster({ jobs, machines: history.machines, fromMs: 0, untilMs });
}

function spansOf({ submitMs, startMs, endMs }: JobHistory, nowMs: number): readonly Span<JobState>[] {
  const waiting = { state: 'waiting', fromMs: submitMs, untilMs: startMs ?? nowMs } as const;
  if (startMs === null) return [waiting];
  return [waiting, { state: 'running', fromMs: startMs, untilMs: endMs ?? nowMs }];
}
