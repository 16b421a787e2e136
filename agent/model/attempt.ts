import type { AllocationId } from '../../shared/ids.js';
import type { DriverName } from '../../shared/job-spec/spec.js';
import type { StopReason } from '../../shared/outcome.js';
import type { ReportedEnd, StartOrder } from '../../shared/wire/messages.js';

/**
 * The agent's record of an allocation; kept from its acceptance until the coordinator has acknowledged its end and has
 * all its output.
 */
export interface Attempt {
  readonly allocationId: AllocationId;
  /** Who has its output; null for an attempt that never came to a driver. */
  readonly driver: DriverName | null;
  /**
   * What to run; dropped once it has ended. Absent too for an allocation that was told to stop before it was ever told
   * to start: a tombstone against late starts.
   */
  readonly order: StartOrder | null;
  readonly phase: AttemptPhase;
  /** Why it was asked to stop, if it was; it survives into `ended`. */
  readonly stopReason: StopReason | null;
}

/**
 * accepted → running → ended, with stopping between when somebody asked.
 *
 * Times are not stored: monotonic clocks mean nothing to the next process, which asks the driver for ages instead.
 */
export type AttemptPhase =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'running' }
  | { readonly kind: 'stopping' }
  | { readonly kind: 'ended'; readonly end: ReportedEnd };

export type AttemptPhaseKind = AttemptPhase['kind'];

export const ATTEMPT_TRANSITIONS: Readonly<Record<AttemptPhaseKind, readonly AttemptPhaseKind[]>> = {
  accepted: ['running', 'stopping', 'ended'],
  running: ['stopping', 'ended'],
  stopping: ['ended'],
  ended: [],
};
