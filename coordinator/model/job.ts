import type { EpochMs } from '../../shared/clock.js';
import type { JobId } from '../../shared/ids.js';
import type { JobSpec, StepSpec } from '../../shared/job-spec/spec.js';
import type { JobOutcome, TaskOutcome } from '../../shared/outcome.js';
import type { RangeSet } from '../../shared/ranges.js';
import type { DemandClass } from './demand.js';
import type { Route } from './route.js';
import type { Task } from './task.js';

/** What a user submitted, and where it stands. The record is replaced at each change, never written to. */
export interface Job {
  readonly id: JobId;
  /** Submission order; ids and listings follow it. */
  readonly sequence: number;
  readonly spec: JobSpec;
  readonly submittedAt: EpochMs;
  readonly submittedBy: string;
  /** When the first of its tasks is known to have run; absent before. */
  readonly startedAt?: EpochMs;
  readonly phase: JobPhase;
  /** In dependency order, as in the specification. */
  readonly steps: ReadonlyMap<string, Step>;
}

export type JobPhase =
  | { readonly kind: 'held'; readonly since: EpochMs }
  | { readonly kind: 'active'; readonly since: EpochMs }
  | { readonly kind: 'canceling'; readonly since: EpochMs; readonly reason: string }
  | { readonly kind: 'finished'; readonly at: EpochMs; readonly outcome: JobOutcome; readonly reason?: string };

export type JobPhaseKind = JobPhase['kind'];

export const JOB_TRANSITIONS: Readonly<Record<JobPhaseKind, readonly JobPhaseKind[]>> = {
  held: ['active', 'canceling', 'finished'],
  active: ['held', 'canceling', 'finished'],
  canceling: ['finished'],
  finished: [],
};

/**
 * One node of a job's graph: `count` tasks of equal demand.
 *
 * Tasks that have never been placed exist only in `untouched`, a set of ranges, so an array of a million is one record.
 * The containers `Job.steps` and `tasks` are mutable and owned by `apply`; records in them are replaced.
 */
export interface Step {
  readonly name: string;
  /** Place among the job's steps, from 0. */
  readonly position: number;
  readonly spec: StepSpec;
  /** Of its waiting tasks; what was placed before the route changed had another. */
  readonly demand: DemandClass;
  /** Absent until it is taken, and where there is nothing to choose. */
  readonly route?: Route;
  readonly count: number;
  /** False while a step that it needs has not succeeded: its tasks are blocked. */
  readonly isReleased: boolean;
  /** When its tasks became queued. */
  readonly queuedAt: EpochMs;
  /** Tasks that were never placed: blocked, queued for attempt 1, or, once `swept`, done. */
  readonly untouched: RangeSet;
  /** Every task that was placed at least once, less those that have `left`. */
  readonly tasks: ReadonlyMap<number, Task>;
  readonly counts: TaskCounts;
  /** Tasks that are done and whose records are in the archive; absent before the first. */
  readonly left?: LeftTasks;
  /** How its untouched tasks ended, when they were canceled or dropped together. */
  readonly swept?: { readonly at: EpochMs; readonly outcome: TaskOutcome };
}

/** Nothing is left to choose: until then its tasks are not served. */
export function isRouted({ spec, route }: Pick<Step, 'spec' | 'route'>): boolean {
  return route !== undefined || (spec.targets?.length ?? 0) < 2;
}

/** What the state still knows of tasks whose records have left memory: how they ended. */
export type LeftTasks = Readonly<Record<TaskOutcome['kind'], RangeSet>> & { readonly highestExitCode: number };

/** How many tasks of a step, or of a job, stand where; they add up to the count. */
export interface TaskCounts {
  readonly blocked: number;
  readonly queued: number;
  readonly placed: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly canceled: number;
  readonly dropped: number;
}

export const NO_TASKS: TaskCounts = {
  blocked: 0,
  queued: 0,
  placed: 0,
  succeeded: 0,
  failed: 0,
  canceled: 0,
  dropped: 0,
};

export function addCounts(left: TaskCounts, right: TaskCounts): TaskCounts {
  return {
    blocked: left.blocked + right.blocked,
    queued: left.queued + right.queued,
    placed: left.placed + right.placed,
    succeeded: left.succeeded + right.succeeded,
    failed: left.failed + right.failed,
    canceled: left.canceled + right.canceled,
    dropped: left.dropped + right.dropped,
  };
}

export function unfinishedCount(counts: TaskCounts): number {
  return counts.blocked + counts.queued + counts.placed;
}

export function jobCounts(job: Job): TaskCounts {
  let total = NO_TASKS;
  for (const step of job.steps.values()) total = addCounts(total, step.counts);
  return total;
}
