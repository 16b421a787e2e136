import { present } from '../../shared/assert.js';
import type { Clock } from '../../shared/clock.js';
import { isRefusal } from '../../shared/errors.js';
import { type AllocationId, type JobId, jobIdOf, parseAllocationId } from '../../shared/ids.js';
import { NO_LIMITS } from '../../shared/limits.js';
import { silentLog } from '../../shared/log.js';
import type { PoolSpec } from '../../shared/pool.js';
import { type Random, seededRandom } from '../../shared/random.js';
import { scale } from '../elastic/policy.js';
import { Engine } from '../engine/engine.js';
import type { Input } from '../engine/inputs.js';
import { DEFAULT_PLAN_POLICY } from '../scheduler/plan.js';
import { ImmediatePricing } from '../scheduler/worth/pricing.js';
import { MemoryStore } from '../store/memory.js';
import { SimMachines, varied } from './machines.js';
import type { History } from './measure.js';
import { Recorder } from './recorder.js';
import type { Arrival, Scenario } from './scenario.js';
import { VirtualClock } from './virtual-clock.js';

export interface SimulateOptions {
  /** Which machines to start and to let go; ours when absent. */
  readonly scale?: typeof scale;
  /** Is shown the engine before anything happens. */
  readonly watch?: (engine: Engine, clock: Clock) => Promise<void>;
}

const EPOCH = Date.parse('2000-01-01T00:00:00Z');
const OPERATOR = 'scenario';
/** Of the simulated time, after the last arrival; a job that has not ended then never will. */
const PATIENCE_MS = 30 * 24 * 3_600_000;
const NODE_LEASE_MS = 60_000;
/** Machines that always stand are ordered one after the other. */
const SETTLING_MS = 30 * 60_000;

/**
 * Lives through a scenario with the real engine, planner and elastic policy, on a clock that nobody waits for.
 *
 * It begins when the warm machines of each pool stand, as if they always had. The same scenario gives the same history.
 */
export async function simulate(scenario: Scenario, options: SimulateOptions = {}): Promise<History> {
  return new Simulation(scenario, options).run();
}

class Simulation {
  readonly #scenario: Scenario;
  readonly #options: SimulateOptions;
  readonly #clock = new VirtualClock(EPOCH);
  readonly #random: Random;
  /** What comes before the scenario: the time in which the warm machines boot. */
  readonly #preludeMs: number;
  readonly #recorder: Recorder;
  readonly #arrivals = new Map<JobId, Arrival>();
  #failure: unknown;

  constructor(scenario: Scenario, options: SimulateOptions) {
    this.#scenario = scenario;
    this.#options = options;
    this.#random = seededRandom(scenario.seed);
    const slowest = Math.max(0, ...scenario.pools.map(({ times }) => times.bootMs));
    this.#preludeMs = slowest * (1 + scenario.jitter) + SETTLING_MS;
    this.#recorder = new Recorder(EPOCH + this.#preludeMs);
  }

  async run(): Promise<History> {
    const { arrivals, windowMs } = this.#scenario;
    const engine = await this.#open();
    engine.onCommitted((events) => {
      for (const logged of events) this.#recorder.note(logged);
    });
    await this.#options.watch?.(engine, this.#clock);
    this.#planInputs(engine);
    const endsAt = EPOCH + this.#preludeMs + (windowMs ?? 0);
    const lastAt = EPOCH + this.#preludeMs + (arrivals.at(-1)?.submitMs ?? 0);
    await this.#clock.run(Math.max(endsAt, lastAt + PATIENCE_MS), () => {
      if (this.#failure !== undefined) return true;
      return this.#recorder.finishedCount === arrivals.length && this.#clock.now() >= endsAt;
    });
    if (this.#failure !== undefined) throw this.#failure;
    const history = this.#recorder.history(this.#clock.now());
    await engine.close();
    return history;
  }

  async #open(): Promise<Engine> {
    const opening = Engine.open({
      store: new MemoryStore(),
      clock: this.#clock,
      log: silentLog,
      rules: { nodeLeaseMs: NODE_LEASE_MS, limits: NO_LIMITS },
      planning: DEFAULT_PLAN_POLICY,
      pricing: new ImmediatePricing(),
      scale: this.#options.scale ?? scale,
      perform: (effects) => machines.perform(effects),
      onFailure: (error) => this.#fail(error),
    });
    await this.#clock.settle();
    const engine = await opening;
    const { pools, jitter, failures } = this.#scenario;
    const machines = new SimMachines({
      ...{ pools, jitter, failures, clock: this.#clock, random: this.#random },
      beginsAt: EPOCH + this.#preludeMs,
      view: () => engine.view,
      handle: (input) => this.#handle(engine, input),
      runMsOf: (id) => this.#runMsOf(id),
    });
    return engine;
  }

  #planInputs(engine: Engine): void {
    const { pools, arrivals, windowMs } = this.#scenario;
    // The prelude is for what always stands, and nothing else.
    const standing = pools.map((pool) => ({ ...untold(pool), predeploy: 0 }));
    this.#handle(engine, { type: 'definePools', specs: standing, by: OPERATOR });
    this.#clock.after(this.#preludeMs, () => {
      this.#handle(engine, { type: 'definePools', specs: pools.map(untold), by: OPERATOR });
    });
    for (const arrival of arrivals) {
      this.#clock.after(this.#preludeMs + arrival.submitMs, () => void this.#submit(engine, arrival));
    }
    this.#clock.after(this.#preludeMs + (windowMs ?? 0), () => {});
  }

  async #submit(engine: Engine, arrival: Arrival): Promise<void> {
    try {
      const jobId = jobIdOf(engine.view.nextJobSequence);
      this.#arrivals.set(jobId, arrival);
      this.#recorder.submitted(jobId, arrival);
      const reply = await engine.handle({ type: 'submitJob', spec: arrival.spec, by: OPERATOR });
      if (isRefusal(reply)) this.#recorder.refused(jobId, reply.detail);
    } catch (error) {
      this.#fail(error);
    }
  }

  #handle(engine: Engine, input: Input): void {
    engine.handle(input).catch((error: unknown) => this.#fail(error));
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
  }

  #runMsOf(id: AllocationId): number {
    const { jobId } = present(parseAllocationId(id), 'allocation id');
    const arrival = present(this.#arrivals.get(jobId), `arrival of ${id}`);
    return varied(arrival.runMs, { random: this.#random, jitter: this.#scenario.jitter });
  }
}

/** What the cloud grants, the policy has to find out by itself. */
function untold(pool: PoolSpec): PoolSpec {
  return { ...pool, quota: null };
}
