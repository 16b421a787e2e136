import type { EpochMs } from '../../shared/clock.js';
import type { Refusal } from '../../shared/errors.js';
import type { Limits } from '../../shared/limits.js';
import type { Decision, InputOf, InputType, Reply } from '../engine/inputs.js';
import type { BerthEvent } from '../model/events.js';
import type { ClusterView } from '../model/state.js';

/** One rule answers one kind of input: what becomes true, or why not. It reads only its arguments. */
export type Rule<Type extends InputType> = (
  view: ClusterView,
  input: InputOf<Type>,
  context: RuleContext,
) => Decision | Refusal;

export interface RuleContext {
  readonly now: EpochMs;
  readonly policy: RulePolicy;
}

/** What the operator may set, as far as rules read it. */
export interface RulePolicy {
  /** How long the allocations of a silent node are believed before they are declared lost. */
  readonly nodeLeaseMs: number;
  readonly limits: Limits;
}

export const DONE: Reply = { kind: 'done' };

export function done(...events: readonly BerthEvent[]): Decision {
  return { events, reply: DONE };
}
