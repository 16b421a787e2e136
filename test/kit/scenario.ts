import assert from 'node:assert/strict';
import type { Effect, Input, Reply } from '../../coordinator/engine/inputs.js';
import { Turn } from '../../coordinator/engine/turn.js';
import { applyEvent } from '../../coordinator/model/apply.js';
import type { BerthEvent, EventOf, EventType, LoggedEvent } from '../../coordinator/model/events.js';
import { violations } from '../../coordinator/model/invariants.js';
import type { MemoryLimits } from '../../coordinator/model/memory-limits.js';
import type { Departure } from '../../coordinator/model/past.js';
import { restore, serialize } from '../../coordinator/model/snapshot.js';
import { type ClusterView, emptyState } from '../../coordinator/model/state.js';
import type { Outlook } from '../../coordinator/routing/outlook.js';
import { DEFAULT_PLAN_POLICY } from '../../coordinator/scheduler/plan.js';
import { ImmediatePricing, type Pricing } from '../../coordinator/scheduler/worth/pricing.js';
import { isRefusal, type Refusal } from '../../shared/errors.js';
import type { AllocationId, JobId, NodeId } from '../../shared/ids.js';
import type { JobSpec } from '../../shared/job-spec/spec.js';
import { type Limits, NO_LIMITS } from '../../shared/limits.js';
import type { AllocationEnd } from '../../shared/outcome.js';
import type { Held, Hello } from '../../shared/wire/messages.js';
import { aHello } from './builders.js';
import { ManualClock } from './manual-clock.js';

export const LEASE_MS = 60_000;

interface ScenarioOptions {
  readonly limits?: Limits;
  readonly pricing?: Pricing;
  /** False for long runs: the checks after each input read the whole state. */
  readonly isChecked?: boolean;
  /** MEMORY_LIMITS when absent. */
  readonly memory?: MemoryLimits;
  /** Of remote batch systems. */
  readonly outlook?: Outlook;
}

/**
 * The real decide, apply and plan, one input at a time, on a clock of our own. After every input the invariants are
 * recomputed and the state is compared with the one that replaying the events, and restoring a snapshot, gives.
 */
export class Scenario {
  readonly clock = new ManualClock();
  readonly #turn: Turn;
  readonly log: LoggedEvent[] = [];
  /** What the last input made true, and told the world. */
  events: readonly BerthEvent[] = [];
  effects: readonly Effect[] = [];
  reply: Reply | Refusal = { kind: 'done' };

  /** What has left memory so far, in the order in which it left. */
  readonly departures: Departure[] = [];
  readonly #isChecked: boolean;
  readonly #memory: MemoryLimits | undefined;

  constructor({
    limits = NO_LIMITS,
    pricing = new ImmediatePricing(),
    isChecked = true,
    memory,
    outlook,
  }: ScenarioOptions = {}) {
    this.#isChecked = isChecked;
    this.#memory = memory;
    this.#turn = new Turn(emptyState(memory), {
      clock: this.clock,
      rules: { nodeLeaseMs: LEASE_MS, limits },
      planning: { ...DEFAULT_PLAN_POLICY, limits },
      pricing,
      ...(outlook ? { outlook } : {}),
    });
  }

  get view(): ClusterView {
    return this.#turn.view;
  }

  when(input: Input): this {
    this.reply = this.#turn.take(input);
    this.#finish();
    return this;
  }

  /** Lets time pass, and decides what is due then. */
  after(durationMs: number): this {
    this.clock.skip(durationMs);
    this.#finish();
    return this;
  }

  join(name: string, parts: Partial<Hello> = {}): this {
    return this.when({ type: 'agentJoined', hello: aHello(name, parts) });
  }

  submit(spec: JobSpec, key?: { value: string; digest: string }): this {
    return this.when({ type: 'submitJob', spec, by: 'tester', ...(key ? { key } : {}) });
  }

  submitAs(by: string, spec: JobSpec): this {
    return this.when({ type: 'submitJob', spec, by });
  }

  cancel(jobId: string, reason = 'no longer needed'): this {
    return this.when({ type: 'cancelJob', jobId: jobId as JobId, reason, by: 'tester' });
  }

  reports(allocationId: string, phase: Held['phase'], end?: AllocationEnd): this {
    const allocation = this.view.allocations.get(allocationId as AllocationId);
    assert(allocation, `no allocation ${allocationId}`);
    return this.reportsFrom(allocation.nodeId, allocationId, { phase, ...(end ? { end } : {}) });
  }

  reportsFrom(node: string, allocationId: string, said: { phase: Held['phase']; end?: AllocationEnd }): this {
    const end = said.end ? { end: { end: said.end, stdoutBytes: 0, stderrBytes: 0 } } : {};
    const report = { allocationId: allocationId as AllocationId, phase: said.phase, ageMs: 0, ...end };
    return this.when({ type: 'agentReported', nodeId: node as NodeId, report });
  }

  exits(allocationId: string, exitCode = 0): this {
    return this.reports(allocationId, 'ended', { kind: 'exited', exitCode, ranMs: 10 });
  }

  /** The types of the last input's events, in order. */
  types(): EventType[] {
    return this.events.map((event) => event.type);
  }

  all<Type extends EventType>(type: Type): EventOf<Type>[] {
    return this.events.filter((event): event is EventOf<Type> => event.type === type);
  }

  refusal(): string | undefined {
    return isRefusal(this.reply) ? this.reply.refused : undefined;
  }

  node(name: string) {
    return this.view.nodes.get(name as NodeId);
  }

  job(id: string) {
    return this.view.jobs.get(id as JobId);
  }

  allocation(id: string) {
    return this.view.allocations.get(id as AllocationId);
  }

  #finish(): void {
    const { events, departures, effects } = this.#turn.finish();
    this.departures.push(...departures);
    this.events = events.map((logged) => logged.event);
    this.effects = effects;
    this.log.push(...events);
    if (!this.#isChecked) return;
    assert.deepEqual(violations(this.view), [], 'an invariant is broken');
    this.#replayEqualsLive();
  }

  #replayEqualsLive(): void {
    const live = serialize(this.view);
    const replayed = emptyState(this.#memory);
    for (const logged of JSON.parse(JSON.stringify(this.log)) as LoggedEvent[]) applyEvent(replayed, logged);
    assert.equal(serialize(replayed), live, 'replay differs from live');
    assert.deepEqual(replayed.departures, this.departures, 'a replay lets other things leave');
    assert.deepEqual(violations(replayed), []);
    const restored = restore(live, this.#memory);
    assert.equal(serialize(restored), live, 'a restored snapshot differs from live');
    assert.deepEqual(violations(restored), []);
  }
}
