import type { StopReason } from '../outcome.js';
import type { StepSpec, StopSpec } from './spec.js';

/** Reasons after which the task is to run again, so that it may save its state first. */
const TO_BE_CONTINUED: ReadonlySet<StopReason> = new Set(['drained', 'preempted', 'gang']);

/** The signal and the grace with which an attempt is stopped for a reason. */
export function stopFor({ stop, checkpoint }: Pick<StepSpec, 'stop' | 'checkpoint'>, reason: StopReason): StopSpec {
  return checkpoint !== undefined && TO_BE_CONTINUED.has(reason) ? checkpoint : stop;
}
