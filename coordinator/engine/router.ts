import type { EpochMs } from '../../shared/clock.js';
import type { StepRef } from '../model/indexes.js';
import type { ClusterView } from '../model/state.js';

export const ROUTER_LIMITS = {
  /** Steps whose targets are compared in one turn; the others come in the next. */
  stepsPerTurn: 8,
  /** What waits is compared again after this time; so many wait that it takes longer, then each second some of them. */
  againMs: 15_000,
  leastMs: 1_000,
} as const;

/** Which steps with several targets are to be looked at: those without a route at once, the others in turns. */
export class Router {
  #againAt: EpochMs = 0;
  /** Where the present round is; a round is never finished for good, so nothing of it must survive. */
  #round: Iterator<StepRef> = [].values();

  /** Something is known of a target that was not known before. */
  lookAgain(): void {
    this.#againAt = 0;
  }

  /** When the next is due; undefined when none waits. */
  nextDueAt({ index }: ClusterView): EpochMs | undefined {
    return index.reroutable.size > 0 ? this.#againAt : undefined;
  }

  /** Those whose turn it is. */
  take({ index }: ClusterView, now: EpochMs): StepRef[] {
    const taken: StepRef[] = [];
    for (const ref of index.unrouted.values()) {
      if (taken.length === ROUTER_LIMITS.stepsPerTurn) return taken;
      taken.push(ref);
    }
    const { size } = index.reroutable;
    if (size === 0 || now < this.#againAt) return taken;
    const most = taken.length + Math.min(size, ROUTER_LIMITS.stepsPerTurn);
    while (taken.length < most) taken.push(this.#next(index.reroutable));
    const paceMs = (ROUTER_LIMITS.againMs * ROUTER_LIMITS.stepsPerTurn) / size;
    this.#againAt = now + Math.min(ROUTER_LIMITS.againMs, Math.max(ROUTER_LIMITS.leastMs, paceMs));
    return taken;
  }

  #next(reroutable: ReadonlyMap<string, StepRef>): StepRef {
    let next = this.#round.next();
    if (next.done) {
      this.#round = reroutable.values();
      next = this.#round.next();
    }
    return next.value;
  }
}
