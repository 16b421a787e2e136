import type { EpochMs } from '../../shared/clock.js';
import type { DemandClass } from '../model/demand.js';
import type { Job, Step } from '../model/job.js';
import type { ClusterView } from '../model/state.js';
import { explainStep, type WaitReason } from '../scheduler/explain.js';

export type { WaitReason };

/**
 * Why steps wait, for one look at the state.
 *
 * An explanation costs O(nodes), and a page of jobs holds many steps of the same demand: their answers are shared.
 */
export class Explanations {
  readonly #view: ClusterView;
  readonly #now: EpochMs;
  readonly #byDemand = new Map<DemandClass, WaitReason | undefined>();

  constructor(view: ClusterView, now: EpochMs) {
    this.#view = view;
    this.#now = now;
  }

  get now(): EpochMs {
    return this.#now;
  }

  /** Undefined when nothing of the step waits. */
  reasonOf(job: Job, step: Step): WaitReason | undefined {
    if (!dependsOnDemandAlone(job, step)) return explainStep(this.#view, job, step, this.#now);
    if (!this.#byDemand.has(step.demand)) {
      this.#byDemand.set(step.demand, explainStep(this.#view, job, step, this.#now));
    }
    return this.#byDemand.get(step.demand);
  }

  /** The reason of the first step with queued tasks; of the first blocked step when there is none. */
  reasonOfJob(job: Job): WaitReason | undefined {
    let blocked: Step | undefined;
    for (const step of job.steps.values()) {
      if (step.counts.queued > 0) return this.reasonOf(job, step);
      if (step.counts.blocked > 0) blocked ??= step;
    }
    return blocked && this.reasonOf(job, blocked);
  }
}

/** True when some task that was never placed is free to go: no hold, no need, no back-off explains its waiting. */
function dependsOnDemandAlone(job: Job, step: Step): boolean {
  return job.phase.kind === 'active' && step.isReleased && !step.swept && step.untouched.length > 0;
}
