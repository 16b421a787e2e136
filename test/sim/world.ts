import type { CreateOrder } from '../../coordinator/elastic/provider.js';
import { MEMORY_LIMITS, type MemoryLimits } from '../../coordinator/model/memory-limits.js';
import { MemoryStore } from '../../coordinator/store/memory.js';
import type { Clock } from '../../shared/clock.js';
import { isRefusal } from '../../shared/errors.js';
import type { JobId, NodeId } from '../../shared/ids.js';
import type { JobSpec } from '../../shared/job-spec/spec.js';
import type { PoolSpec } from '../../shared/pool.js';
import { below, type Random, seededRandom } from '../../shared/random.js';
import type { Channel } from '../../shared/wire/channel.js';
import { ManualClock } from '../kit/manual-clock.js';
import { AgentHost } from './agent-host.js';
import { CoordinatorHost } from './coordinator-host.js';
import type { Fault } from './fault.js';
import { machineOf, randomPools } from './machines.js';
import { SimNetwork } from './network.js';
import { SimCloud } from './sim-cloud.js';
import { SimLogs } from './sim-logs.js';
import { Story } from './story.js';
import { randomJob, randomUser } from './workload.js';

export interface SimResult {
  readonly seed: number;
  readonly story: Story;
  readonly virtualMs: number;
  readonly jobCount: number;
  readonly startCount: number;
  readonly crashCount: number;
}

export interface WorldOptions {
  /** Hears the story as it happens. */
  readonly print?: (line: string) => void;
  /** The coordinator's disk; a sound one when absent. */
  readonly makeStore?: (clock: Clock) => MemoryStore;
  readonly shape?: Shape;
}

/** A submission as its client sees it: repeated under one key until it is acknowledged. */
interface Submission {
  readonly spec: JobSpec;
  readonly key: string;
  readonly by: string;
  jobId: JobId | undefined;
}

export const SIM = {
  /** Every job must have finished this long after calm has come. */
  calmMs: 3_600_000,
  /** Output that was on its way when the last job finished arrives within this time, also what has to be sent again. */
  outputMs: 40_000,
  nodeLeaseMs: 30_000,
  clientRetryMs: 2_000,
} as const;

/** What kind of world it is: how many machines, pools, and jobs there are, and for how long there is trouble. */
export interface Shape {
  readonly agentCount: (random: Random) => number;
  readonly pools: (random: Random) => readonly PoolSpec[];
  readonly jobCount: (random: Random) => number;
  readonly job: (random: Random, number: number) => JobSpec;
  /** Faults and submissions fall into this time; afterwards the world is calm. */
  readonly troubledMs: number;
}

export const ANY_WORLD: Shape = {
  agentCount: (random) => 1 + below(random, 3),
  pools: randomPools,
  jobCount: (random) => 3 + below(random, 8),
  job: randomJob,
  troubledMs: 120_000,
};

/** By the seed: nothing that is done stays in memory, a little does, or everything. */
const MEMORIES: readonly MemoryLimits[] = [
  { doneTasks: 0, finishedJobs: 0 },
  { doneTasks: 3, finishedJobs: 2 },
  MEMORY_LIMITS,
];

/** Coordinator, agents, network and users of one seed, and what is known of them from outside. */
export class World {
  readonly clock = new ManualClock();
  readonly random: Random;
  readonly story: Story;
  readonly network: SimNetwork;
  readonly logs = new SimLogs();
  readonly coordinator: CoordinatorHost;
  readonly agents: AgentHost[];
  readonly cloud: SimCloud;
  readonly submissions: Submission[] = [];
  readonly shape: Shape;
  readonly #seed: number;

  constructor(seed: number, options: WorldOptions = {}) {
    this.#seed = seed;
    this.shape = options.shape ?? ANY_WORLD;
    this.random = seededRandom(seed);
    this.story = new Story(this.clock, options.print);
    this.network = new SimNetwork(this.clock, this.random);
    const { clock, logs, story } = this;
    const store = options.makeStore?.(clock) ?? new MemoryStore();
    const memory = MEMORIES[seed % MEMORIES.length] ?? MEMORY_LIMITS;
    this.cloud = new SimCloud({
      ...{ clock, story, random: this.random },
      hostFor: (order) => this.#rentedAgent(order),
      powerOff: (host) => this.reboot(host),
    });
    this.coordinator = new CoordinatorHost({
      ...{ clock, logs, story, store, memory, nodeLeaseMs: SIM.nodeLeaseMs, random: this.random, cloud: this.cloud },
      pools: this.shape.pools(this.random),
    });
    const length = this.shape.agentCount(this.random);
    this.agents = Array.from({ length }, (_, position) => this.#newAgent(position));
  }

  /** Lives through trouble and calm. */
  async run(faults: readonly Fault[]): Promise<SimResult> {
    this.startCoordinator();
    for (const agent of this.agents) agent.start();
    this.#planSubmissions();
    for (const { at, what, act } of faults) {
      this.clock.after(at, () => {
        this.story.tell('fault', what);
        act();
      });
    }
    await this.clock.advance(this.shape.troubledMs);
    this.story.tell('world', 'calm');
    this.calmDown();
    await this.#awaitEnd();
    const starts = this.agents.flatMap(({ machine }) => [...machine.startCounts.values()]);
    return {
      seed: this.#seed,
      story: this.story,
      virtualMs: this.clock.monotonic(),
      jobCount: this.submissions.length,
      startCount: starts.reduce((sum, count) => sum + count, 0),
      crashCount: this.coordinator.crashCount,
    };
  }

  /** Every fault is mended and everything that was stopped is started. */
  calmDown(): void {
    this.network.calm();
    this.startCoordinator();
    this.cloud.trouble = 'none';
    for (const agent of this.agents) {
      agent.machine.trouble = null;
      this.startAgent(agent);
    }
  }

  killCoordinator(): void {
    this.coordinator.kill();
    this.network.resetAll();
  }

  startCoordinator(): void {
    if (this.coordinator.isRunning) return;
    this.coordinator.start().catch((error: unknown) => this.story.broken(`the log cannot be read: ${String(error)}`));
  }

  killAgent(agent: AgentHost): void {
    agent.kill();
    this.network.reset(agent.name);
  }

  startAgent(agent: AgentHost): void {
    if (!agent.isRunning && !this.cloud.isOff(agent)) agent.start();
  }

  reboot(agent: AgentHost): void {
    agent.reboot();
    this.network.reset(agent.name);
  }

  /** Some machine, as long as there is one. */
  anyAgent(): AgentHost | undefined {
    return this.agents[below(this.random, this.agents.length)];
  }

  /** Some user cancels some job; an answer is a promise (P8). */
  async cancelSome(): Promise<void> {
    const jobId = this.anyJob();
    const { engine } = this.coordinator;
    if (!jobId || !engine) return;
    const reply = await engine.handle({ type: 'cancelJob', jobId, reason: 'sim', by: 'sim' }).catch(() => undefined);
    if (reply && !isRefusal(reply)) this.story.canceled(jobId);
  }

  /** Some job that was acknowledged, as a user would pick one. */
  anyJob(): JobId | undefined {
    const known = this.submissions.flatMap(({ jobId }) => jobId ?? []);
    return known[below(this.random, known.length)];
  }

  async #awaitEnd(): Promise<void> {
    const until = this.clock.monotonic() + SIM.calmMs;
    while (this.clock.monotonic() < until) {
      await this.#openAll();
      await this.clock.advance(10_000);
      if (this.#isOver()) return this.clock.advance(SIM.outputMs);
    }
  }

  /** The operator and the users undo what would keep jobs from finishing. */
  async #openAll(): Promise<void> {
    const { engine } = this.coordinator;
    for (const node of engine?.view.nodes.values() ?? []) {
      if (node.intake.kind !== 'open')
        void engine?.handle({ type: 'openNode', nodeId: node.id, by: 'sim' }).catch(() => {});
    }
    for (const job of engine?.view.jobs.values() ?? []) {
      if (job.phase.kind === 'held') void engine?.handle({ type: 'releaseJob', jobId: job.id }).catch(() => {});
    }
  }

  #isOver(): boolean {
    const { view } = this.coordinator;
    if (!view || this.submissions.some(({ jobId }) => jobId === undefined)) return false;
    return [...view.jobs.values()].every((job) => job.phase.kind === 'finished');
  }

  #planSubmissions(): void {
    const count = this.shape.jobCount(this.random);
    for (let number = 1; number <= count; number += 1) {
      const spec = this.shape.job(this.random, number);
      const by = randomUser(this.random);
      const submission: Submission = { spec, key: `key-${number}`, by, jobId: undefined };
      this.submissions.push(submission);
      this.clock.after(below(this.random, (this.shape.troubledMs * 5) / 6), () => void this.#submit(submission));
    }
  }

  /** Repeats the request under its key until it is answered, as the client does. */
  async #submit(submission: Submission): Promise<void> {
    const { spec, key, by } = submission;
    const again = (): void => void this.clock.after(SIM.clientRetryMs, () => void this.#submit(submission));
    const input = { type: 'submitJob', spec, by, key: { value: key, digest: key } } as const;
    const timeOut = this.clock.after(SIM.clientRetryMs, () => {
      if (submission.jobId === undefined) void this.#submit(submission);
    });
    try {
      const reply = await this.coordinator.engine?.handle(input);
      timeOut();
      if (reply === undefined) again();
      else if (isRefusal(reply)) this.story.broken(`${key} was refused: ${reply.detail}`);
      else if (reply.kind === 'job') this.#acknowledged(submission, reply.jobId);
    } catch {
      timeOut();
      again();
    }
  }

  #acknowledged(submission: Submission, jobId: JobId): void {
    if (submission.jobId !== undefined && submission.jobId !== jobId) {
      this.story.broken(`${submission.key} is ${submission.jobId} and ${jobId}`);
    }
    submission.jobId = jobId;
  }

  #newAgent(position: number): AgentHost {
    const name = `n${position + 1}` as NodeId;
    const { clock, random, story } = this;
    const inventory = machineOf(random, position);
    return new AgentHost({ ...{ name, clock, random, story, inventory }, dial: () => this.#dial(name) });
  }

  /** A machine of the cloud joins the others; it is on when its provider says so. */
  #rentedAgent({ nodeId: name, labels, shape }: CreateOrder): AgentHost {
    const { clock, random, story } = this;
    const inventory = { ...shape, labels };
    const dial = (): Channel | undefined => this.#dial(name, name);
    const identity = `disk-${this.agents.length}`;
    const host = new AgentHost({ ...{ name, identity, clock, random, story, inventory, dial }, isRented: true });
    this.agents.push(host);
    return host;
  }

  #dial(name: NodeId, ticketNode?: NodeId): Channel | undefined {
    if (!this.coordinator.engine) return undefined;
    const pair = this.network.connect(name);
    if (pair && !this.coordinator.accept(pair.coordinatorEnd, ticketNode)) return undefined;
    return pair?.agentEnd;
  }
}
