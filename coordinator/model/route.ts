import type { EpochMs } from '../../shared/clock.js';
import type { PlaceName } from '../../shared/job-spec/spec.js';

/** Where the waiting tasks of a step go that has several targets, and why. What has been placed stays where it is. */
export interface Route {
  readonly target: PlaceName;
  readonly at: EpochMs;
  /** For people. */
  readonly because: string;
  /** What was expected of each target, in the order of the specification. */
  readonly alternatives: readonly Alternative[];
}

export interface Alternative {
  readonly target: PlaceName;
  /** When the next of the waiting tasks would start; null when nobody knows. */
  readonly startAt: EpochMs | null;
  /** When the last of them would be done. */
  readonly doneAt: EpochMs | null;
  /** False when none would start as things are. */
  readonly isUsable: boolean;
  /** Of one task, in the operator's currency. */
  readonly pricePerHour: number;
  /** What this rests on, for people. */
  readonly ground: string;
}
