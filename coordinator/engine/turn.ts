import { present } from '../../shared/assert.js';
import type { Clock, EpochMs } from '../../shared/clock.js';
import { isRefusal, type Refusal } from '../../shared/errors.js';
import { scale } from '../elastic/policy.js';
import { applyEvent } from '../model/apply.js';
import { type BerthEvent, EVENT_VERSION, type LoggedEvent } from '../model/events.js';
import type { Departure } from '../model/past.js';
import { type ClusterState, type ClusterView, stepOf } from '../model/state.js';
import type { Outlook } from '../routing/outlook.js';
import { route } from '../routing/route.js';
import { consequence } from '../rules/consequences.js';
import { DONE, type RulePolicy } from '../rules/rule.js';
import { Placer } from '../scheduler/placer.js';
import { type PlanPolicy, plan } from '../scheduler/plan.js';
import type { Pricing } from '../scheduler/worth/pricing.js';
import { decide } from './decide.js';
import { effectsOf, mayPlace } from './effects.js';
import type { Effect, Input, Reply } from './inputs.js';
import { Router } from './router.js';
import { scalingEvent } from './scaling.js';

interface TurnOptions {
  readonly clock: Clock;
  readonly rules: RulePolicy;
  readonly planning: PlanPolicy;
  readonly pricing: Pricing;
  readonly scale?: typeof scale;
  /** Of remote batch systems; nothing is known of any when absent. */
  readonly outlook?: Outlook;
}

/** What a turn has made true, what left memory by it, and what the world is to be told. */
interface Made {
  readonly events: readonly LoggedEvent[];
  readonly departures: readonly Departure[];
  readonly effects: readonly Effect[];
}

/**
 * Under load machines are thought of no more often than this, and for no more than a twentieth of the time; otherwise at
 * once.
 */
const SCALING = { everyMs: 100, share: 0.05 } as const;

/** One turn of the loop, without the waiting: inputs in, events and effects out, the state moved on. Synchronous. */
export class Turn {
  readonly #state: ClusterState;
  readonly #options: TurnOptions;
  #events: LoggedEvent[] = [];
  #effects: Effect[] = [];
  #mustPlan = true;
  #revisitAt: EpochMs | undefined;
  /** When machines are to be thought of again; undefined until something happens. */
  #scaleAt: EpochMs | undefined = 0;
  /** When they may be thought of again at the earliest. */
  #scaleFrom: EpochMs = 0;
  readonly #placer: Placer;
  readonly #scaling: typeof scale;
  readonly #router = new Router();

  constructor(state: ClusterState, options: TurnOptions) {
    this.#state = state;
    this.#options = options;
    this.#placer = new Placer(options.pricing);
    this.#scaling = options.scale ?? scale;
  }

  get view(): ClusterView {
    return this.#state;
  }

  /** Something that waits may fit now, or still has to be told where it goes. */
  get mustPlan(): boolean {
    return this.#mustPlan || this.#state.index.unrouted.size > 0;
  }

  /** When the next turn is due although nothing happens; undefined when none is. */
  get nextDueAt(): EpochMs | undefined {
    const due = [
      this.#state.index.nextDeadline(),
      this.#revisitAt,
      this.#scaleAt,
      this.#router.nextDueAt(this.#state),
    ].filter((at) => at !== undefined);
    return due.length === 0 ? undefined : Math.min(...due);
  }

  /** Decides one input and applies what it makes true, with all that follows. */
  take(input: Input): Reply | Refusal {
    const now = this.#options.clock.now();
    const decision = decide(this.#state, input, { now, policy: this.#options.rules });
    if (isRefusal(decision)) return decision;
    for (const event of decision.events) this.#apply(event, now);
    if (input.type === 'limitsChanged') this.#mustPlan = true;
    if (input.type === 'outlookChanged') this.#router.lookAgain();
    this.#effects.push(...(decision.effects ?? []));
    return decision.reply ?? DONE;
  }

  /** Decides the deadlines that have passed, plans if anything changed, and hands over what this turn has made true. */
  finish(): Made {
    const now = this.#options.clock.now();
    for (const deadline of this.#state.index.takeDue(now)) {
      this.take({ type: 'timePassed', deadline });
      this.#mustPlan = true;
      this.#scaleSoon();
    }
    if (this.#revisitAt !== undefined && this.#revisitAt <= now) this.#mustPlan = true;
    this.#route(now);
    if (this.#mustPlan) this.#plan();
    this.#scale(now);
    const made = { events: this.#events, departures: this.#state.departures, effects: this.#effects };
    this.#state.departures = [];
    this.#events = [];
    this.#effects = [];
    return made;
  }

  /** Before the plan: what has several targets is served at the one that is chosen. */
  #route(now: EpochMs): void {
    const { planning, outlook = () => undefined } = this.#options;
    for (const ref of this.#router.take(this.#state, now)) {
      const place = {
        job: present(this.#state.jobs.get(ref.jobId), 'job'),
        step: present(stepOf(this.#state, ref), 'step'),
      };
      const routed = route(this.#state, place, { planning, outlook }, now);
      if (routed) this.#apply(routed, now);
    }
  }

  #plan(): void {
    const now = this.#options.clock.now();
    const made = plan(this.#state, this.#options.planning, now, this.#placer);
    for (const placement of made.placements) this.#apply({ type: 'allocation.committed', ...placement }, now);
    for (const { allocationId, jobId } of made.preemptions) {
      this.#apply({ type: 'allocation.stopRequested', allocationId, reason: 'preempted', for: jobId }, now);
    }
    this.#revisitAt = made.revisitAt;
    this.#mustPlan = made.isPartial;
  }

  /** Starts and stops machines for what has been left waiting. */
  #scale(now: EpochMs): void {
    if (this.#scaleAt === undefined || this.#scaleAt > now) return;
    this.#scaleFrom = now + SCALING.everyMs;
    this.#scaleAt = undefined;
    if (this.#state.pools.size === 0) return;
    const { clock } = this.#options;
    const beganAt = clock.monotonic();
    const { decisions, revisitAt } = this.#scaling(this.#state, this.#options, now);
    this.#scaleFrom = now + Math.max(SCALING.everyMs, (clock.monotonic() - beganAt) / SCALING.share);
    for (const decision of decisions) this.#apply(scalingEvent(this.#state, decision), now);
    // What was decided is the only thing that has happened since.
    this.#scaleAt = revisitAt === undefined ? undefined : Math.max(revisitAt, this.#scaleFrom);
  }

  #scaleSoon(): void {
    if (this.#state.pools.size > 0) this.#scaleAt = Math.min(this.#scaleAt ?? this.#scaleFrom, this.#scaleFrom);
  }

  #apply(event: BerthEvent, now: EpochMs): void {
    const logged = { seq: this.#state.lastSeq + 1, at: now, version: EVENT_VERSION, event };
    applyEvent(this.#state, logged);
    this.#events.push(logged);
    this.#effects.push(...effectsOf(this.#state, event));
    if (mayPlace(event)) this.#mustPlan = true;
    this.#scaleSoon();
    for (;;) {
      const next = consequence(this.#state, event, now);
      if (next.length === 0) return;
      for (const each of next) this.#apply(each, now);
    }
  }
}
