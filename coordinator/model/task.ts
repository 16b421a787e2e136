import type { EpochMs } from '../../shared/clock.js';
import type { AllocationId } from '../../shared/ids.js';
import type { TaskOutcome } from '../../shared/outcome.js';

/** A task that was placed at least once. Before that it is an index in its step's `waiting`. */
export interface Task {
  readonly index: number;
  readonly phase: TaskPhase;
  /** Attempts that count against `retry.maxAttempts`; a drained, preempted or rejected one does not. */
  readonly spentAttempts: number;
  /** Attempts that nodes rejected, which count against `MAX_REJECTIONS` alone; absent: none. */
  readonly rejectedAttempts?: number;
}

export type TaskPhase =
  | { readonly kind: 'blocked' }
  | { readonly kind: 'queued'; readonly since: EpochMs; readonly attempt: number; readonly notBefore: EpochMs }
  | { readonly kind: 'placed'; readonly attempt: number; readonly allocationId: AllocationId }
  | { readonly kind: 'done'; readonly at: EpochMs; readonly attempt: number; readonly outcome: TaskOutcome };

export type TaskPhaseKind = TaskPhase['kind'];

/** placed → queued is a requeue after a retry, a preemption or a loss; blocked, queued → done is a drop or a cancel. */
export const TASK_TRANSITIONS: Readonly<Record<TaskPhaseKind, readonly TaskPhaseKind[]>> = {
  blocked: ['queued', 'done'],
  queued: ['placed', 'done'],
  placed: ['queued', 'done'],
  done: [],
};
