import { MachineOperator } from '../../coordinator/elastic/machine-operator.js';
import type { InstanceProvider } from '../../coordinator/elastic/provider.js';
import { Engine } from '../../coordinator/engine/engine.js';
import { orderSource } from '../../coordinator/engine/order-source.js';
import { AgentGateway } from '../../coordinator/gateway/agent-session.js';
import { applyEvent } from '../../coordinator/model/apply.js';
import { violations } from '../../coordinator/model/invariants.js';
import type { MemoryLimits } from '../../coordinator/model/memory-limits.js';
import { serialize } from '../../coordinator/model/snapshot.js';
import { type ClusterView, emptyState } from '../../coordinator/model/state.js';
import { DEFAULT_PLAN_POLICY } from '../../coordinator/scheduler/plan.js';
import { ImmediatePricing } from '../../coordinator/scheduler/worth/pricing.js';
import type { AppendFault, MemoryStore } from '../../coordinator/store/memory.js';
import type { Clock } from '../../shared/clock.js';
import type { NodeId } from '../../shared/ids.js';
import { silentLog } from '../../shared/log.js';
import type { PoolSpec } from '../../shared/pool.js';
import type { Random } from '../../shared/random.js';
import { VERSION } from '../../shared/version.js';
import type { Channel } from '../../shared/wire/channel.js';
import { beyondLimits, SIM_LIMITS } from './limits.js';
import { Mortal } from './mortal.js';
import type { SimLogs } from './sim-logs.js';
import type { Story } from './story.js';

export interface CoordinatorHostOptions {
  readonly clock: Clock;
  readonly store: MemoryStore;
  readonly logs: SimLogs;
  readonly story: Story;
  readonly nodeLeaseMs: number;
  /** How much of what is done stays in memory. */
  readonly memory: MemoryLimits;
  readonly random: Random;
  /** Where it rents machines, and the pools of them; none when empty. */
  readonly cloud: InstanceProvider;
  readonly pools: readonly PoolSpec[];
}

/** The machine of the coordinator: the real engine and gateway, on a disk that outlives them. */
export class CoordinatorHost {
  readonly #options: CoordinatorHostOptions;
  #life: Mortal | undefined;
  #engine: Engine | undefined;
  #gateway: AgentGateway | undefined;
  #operator: MachineOperator | undefined;
  crashCount = 0;

  constructor(options: CoordinatorHostOptions) {
    this.#options = options;
  }

  get isRunning(): boolean {
    return this.#life !== undefined && !this.#life.isDead;
  }

  /** The engine while it serves. */
  get engine(): Engine | undefined {
    return this.#engine;
  }

  get view(): ClusterView | undefined {
    return this.#engine?.view;
  }

  async start(): Promise<void> {
    const { store, logs, story, nodeLeaseMs, memory, cloud, pools, random } = this.#options;
    const life = new Mortal();
    const clock = life.clock(this.#options.clock);
    this.#life = life;
    const engine = await life.answer(
      Engine.open({
        store: life.port(store),
        memory,
        clock,
        log: silentLog,
        rules: { nodeLeaseMs, limits: SIM_LIMITS },
        planning: { ...DEFAULT_PLAN_POLICY, limits: SIM_LIMITS },
        pricing: new ImmediatePricing(),
        perform: (effects) => {
          this.#gateway?.perform(effects);
          this.#operator?.perform(effects);
        },
        // A store that fails, or a bug: the process ends, and its supervisor starts it again.
        onFailure: (error) => {
          story.tell('coordinator', `stopped: ${String(error)}`);
          if (!String(error).includes('store')) story.broken(`the engine stopped on ${String(error)}`);
          this.kill();
        },
      }),
    );
    engine.onCommitted((events) => {
      for (const { event } of events) story.event(event);
      for (const claim of violations(engine.view)) story.broken(claim);
      for (const claim of beyondLimits(engine.view, SIM_LIMITS)) story.broken(claim);
    });
    this.#gateway = new AgentGateway({
      engine,
      logs,
      clock,
      log: silentLog,
      version: VERSION,
      orders: orderSource(engine),
    });
    await life.answer(engine.handle({ type: 'definePools', specs: pools, by: 'sim' }));
    this.#operator = new MachineOperator({
      ...{ engine: life.port(engine), clock, random, log: silentLog, cluster: 'sim' },
      providerOf: async () => life.port(cloud),
      ticketFor: () => ({ url: 'sim', ca: null, token: 'sim' }),
    });
    this.#engine = engine;
    story.tell('coordinator', `serves from event ${engine.view.lastSeq}`);
  }

  /** kill -9: what was not on disk is gone. */
  kill(): void {
    if (!this.#life || this.#life.isDead) return;
    this.crashCount += 1;
    this.#life.die();
    this.#engine = undefined;
    this.#gateway = undefined;
    this.#operator?.close();
    this.#operator = undefined;
    this.#options.store.crash();
    this.#options.story.tell('coordinator', 'killed');
  }

  spoilNextAppend(fault: AppendFault): void {
    if (this.#engine) this.#options.store.spoilNextAppend(fault);
  }

  /** @param ticketNode  the node that its ticket is for; absent when it comes with the token for all */
  accept(channel: Channel, ticketNode?: NodeId): boolean {
    this.#gateway?.accept(channel, ticketNode);
    return this.#gateway !== undefined;
  }

  /** Folds the whole log again and compares it with the running state. */
  async checkReplay(): Promise<void> {
    const { story, memory } = this.#options;
    const history = await this.#engine?.history(0, Number.MAX_SAFE_INTEGER);
    const replayed = emptyState(memory);
    for (const logged of history ?? []) applyEvent(replayed, logged);
    if (this.view && serialize(replayed) !== serialize(this.view)) story.broken('replay differs from live');
  }
}
