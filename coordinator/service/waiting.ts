import type { EpochMs } from '../../shared/clock.js';
import type { AllocationId } from '../../shared/ids.js';
import type { Limits } from '../../shared/limits.js';
import type { DemandClass } from '../model/demand.js';
import type { Job, Step } from '../model/job.js';
import type { ClusterView } from '../model/state.js';
import { explainItself, explainLimits, explainPlace, type Place } from '../scheduler/explain.js';
import { describeRejection } from '../scheduler/explain-backoff.js';
import type { WaitReason } from '../scheduler/wait-reason.js';
import type { MachineKeeper } from './machine-keeper.js';
import { Preparations } from './preparations.js';
import type { RemoteState, Remotes } from './remotes.js';
import type { Service } from './service.js';

export type { WaitReason };

type ExplanationParts = Pick<Service, 'limits' | 'clock' | 'usageOf' | 'machines' | 'remotes'>;

/**
 * Why steps wait, and what placed tasks wait for on their nodes, for one look at the state.
 *
 * An explanation costs O(nodes), and a page of jobs holds many steps of the same demand: their answers are shared.
 */
export class Explanations {
  readonly preparations: Preparations;
  readonly #view: ClusterView;
  readonly #limits: Limits;
  readonly #now: EpochMs;
  readonly #machines: MachineKeeper;
  readonly #remotes: Remotes;
  readonly #byStep = new Map<Step, WaitReason>();
  readonly #byDemand = new Map<DemandClass, WaitReason>();

  constructor(view: ClusterView, { limits, clock, usageOf, machines, remotes }: ExplanationParts) {
    this.#remotes = remotes;
    this.#view = view;
    this.#limits = limits;
    this.#now = clock.now();
    this.#machines = machines;
    this.preparations = new Preparations(view, usageOf);
  }

  get now(): EpochMs {
    return this.#now;
  }

  /** Where an attempt that has not ended stands at a remote batch system; undefined for any other. */
  remoteOf(allocationId: AllocationId): RemoteState | undefined {
    return this.#view.allocations.get(allocationId)?.mirror && this.#remotes.stateOf(allocationId);
  }

  /** What a task that waits for another attempt waits after. */
  setbackOf(job: Job, step: Step, index: number): string {
    const task = step.tasks.get(index);
    return (task && describeRejection(this.#view, { job, step }, task)) ?? 'a failed attempt';
  }

  /** Undefined when nothing of the step waits. */
  reasonOf(job: Job, step: Step): WaitReason | undefined {
    if (step.counts.blocked + step.counts.queued === 0) return undefined;
    const known = this.#byStep.get(step);
    if (known) return known;
    const made = this.#explain(job, step);
    this.#byStep.set(step, made);
    return made;
  }

  #explain(job: Job, step: Step): WaitReason {
    // When some task was never placed, others' back-off does not explain its waiting; and searching for one is dear.
    const isBackingOff = step.untouched.length === 0 || !step.isReleased || job.phase.kind !== 'active';
    const own = isBackingOff ? explainItself(this.#view, { job, step }, this.#now) : undefined;
    return own ?? explainLimits(this.#view, { job, step }, this.#limits) ?? this.#placeReason({ job, step });
  }

  #placeReason(place: Place): WaitReason {
    const { demand } = place.step;
    const known = this.#byDemand.get(demand);
    if (known) return known;
    const made = explainPlace(this.#view, place, {
      ...{ limits: this.#limits, now: this.#now },
      troubleOf: (pool) => this.#machines.troubleOf(pool),
    });
    // A reservation keeps the one waiting and lets the other go, by their time limits.
    if (made.code !== 'reservation' && made.code !== 'starting') this.#byDemand.set(demand, made);
    return made;
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
