import { Engine } from '../../coordinator/engine/engine.js';
import type { Effect, Input } from '../../coordinator/engine/inputs.js';
import { MinHeap } from '../../coordinator/model/heap.js';
import { DEFAULT_PLAN_POLICY } from '../../coordinator/scheduler/plan.js';
import { ImmediatePricing } from '../../coordinator/scheduler/worth/pricing.js';
import { MemoryStore } from '../../coordinator/store/memory.js';
import { present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import { isRefusal } from '../../shared/errors.js';
import type { AllocationId, NodeId } from '../../shared/ids.js';
import type { JobSpec } from '../../shared/job-spec/spec.js';
import { EVERYBODY, type Limits, NO_LIMITS } from '../../shared/limits.js';
import { silentLog } from '../../shared/log.js';
import type { AllocationEnd } from '../../shared/outcome.js';
import { aHello, anInventory, oneStep } from '../kit/builders.js';
import { ManualClock } from '../kit/manual-clock.js';
import { percentile, rounded, say } from './figures.js';

/**
 * The shape of Kueue's large-scale performance test: 10 cohorts of 100 queues, each with 20 CPUs of its own and up to
 * 100 borrowed from its cohort. Every queue is sent 50 workloads of one pod, those of a class one after another.
 * `publishedWaitMs` is Kueue's mean time to admission over 19 runs of 1179 s of real time on average.
 * Sources: kubernetes-sigs/kueue at f6517b0c, test/performance/scheduler/configs/large-scale/generator.yaml and
 * runner/generator/generator.go; the times, its pull request 11422.
 *
 * Berth has quotas and no borrowing. A cohort is a label of nodes that together have what its queues own, and its
 * work insists on it; a queue is a namespace whose quota is what it owns and what it may borrow, together. So a queue
 * goes as far as in Kueue, and a cohort too; but what was borrowed is given back at the end of a task, not by
 * preemption.
 */
const COHORTS = 10;
const QUEUES_PER_COHORT = 100;
const OWNED_CPUS = 20;
const BORROWABLE_CPUS = 100;

interface WorkloadClass {
  readonly count: number;
  readonly intervalMs: number;
  readonly runMs: number;
  readonly priority: number;
  readonly cpus: number;
  readonly publishedWaitMs: number;
}

const CLASSES: ReadonlyMap<string, WorkloadClass> = new Map([
  ['small', { count: 35, intervalMs: 60, runMs: 150, priority: 50, cpus: 1, publishedWaitMs: 700_379 }],
  ['medium', { count: 11, intervalMs: 300, runMs: 350, priority: 100, cpus: 5, publishedWaitMs: 256_413 }],
  ['large', { count: 4, intervalMs: 700, runMs: 700, priority: 200, cpus: 20, publishedWaitMs: 98_803 }],
]);

/** Kueue counts CPUs and knows no nodes here; ours have a hundred each. */
const NODE_CPUS = 100;
const LEASE_MS = 60_000;
/** User and system time of the whole process. */
const CPU_LIMIT_SECONDS = 60;

/** What the decisions of a whole run cost, on the real engine under a virtual clock, so that waits are the policy's own. */
export async function kueue(): Promise<object> {
  const world = new World();
  await world.run();
  const { user, system } = process.cpuUsage();
  const cpuSeconds = (user + system) / 1e6;
  const { jobCount, finishedCount, virtualMs } = world;
  say(`${finishedCount} of ${jobCount} finished after ${virtualMs} virtual ms and ${rounded(cpuSeconds)} CPU-s`);
  if (finishedCount !== jobCount) throw new Error(`${jobCount - finishedCount} workloads did not finish`);
  return {
    workloads: jobCount,
    queues: COHORTS * QUEUES_PER_COHORT,
    virtualMs,
    // The same work with every CPU busy from the first moment on.
    virtualMsAtLeast: sum([...CLASSES.values()].map(({ count, runMs, cpus }) => count * runMs * cpus)) / OWNED_CPUS,
    virtualWaits: Object.fromEntries([...CLASSES].map(([name, each]) => [name, waitsOf(world.waits.get(name), each)])),
    workloadsPerCpuSecond: Math.round(jobCount / cpuSeconds),
    cpuSeconds: rounded(cpuSeconds),
    limitCpuSeconds: CPU_LIMIT_SECONDS,
    ratioToLimit: rounded(cpuSeconds / CPU_LIMIT_SECONDS, 2),
  };
}

function waitsOf(waits: readonly number[] = [], { publishedWaitMs }: WorkloadClass): object {
  const meanMs = Math.round(sum(waits) / waits.length);
  return { meanMs, p50Ms: percentile(waits, 0.5), p99Ms: percentile(waits, 0.99), publishedMeanMs: publishedWaitMs };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** The engine, its users, and its agents, who answer every order at once. */
class World {
  /** From submission to the first placement, in virtual milliseconds, by class. */
  readonly waits = new Map([...CLASSES.keys()].map((name) => [name, [] as number[]]));
  jobCount = 0;
  finishedCount = 0;
  readonly #clock = new ManualClock();
  readonly #agenda = new MinHeap<Input>();
  #engine: Engine | undefined;

  get virtualMs(): number {
    return this.#clock.monotonic();
  }

  async run(): Promise<void> {
    const clock = this.#clock;
    const engine = await this.#open();
    engine.onCommitted((events) => {
      for (const { event } of events) {
        if (event.type === 'job.submitted') this.jobCount += 1;
        else if (event.type === 'job.finished' && event.outcome === 'succeeded') this.finishedCount += 1;
      }
    });
    for (const input of [...joins(), ...submissions()]) this.#agenda.push(clock.now() + input.afterMs, input.input);
    for (let at = this.#agenda.firstAt(); at !== undefined; at = this.#agenda.firstAt()) {
      await clock.advance(at - clock.now());
      await Promise.all([this.#deliver(engine, at), clock.settle()]);
    }
    await engine.close();
  }

  async #open(): Promise<Engine> {
    const clock = this.#clock;
    const limits = queueLimits();
    const opening = Engine.open({
      ...{ store: new MemoryStore(), clock, log: silentLog },
      rules: { nodeLeaseMs: LEASE_MS, limits },
      planning: { ...DEFAULT_PLAN_POLICY, limits },
      pricing: new ImmediatePricing(),
      perform: (effects) => effects.forEach((effect) => void this.#obey(effect)),
      // Whoever waits for an answer hears of it.
      onFailure: () => {},
    });
    await clock.settle();
    this.#engine = await opening;
    return this.#engine;
  }

  /** Everything of one moment, handed over before any of it is answered. */
  async #deliver(engine: Engine, at: EpochMs): Promise<void> {
    const inputs: Input[] = [];
    while (this.#agenda.firstAt() === at) inputs.push(present(this.#agenda.pop(), 'input'));
    for (const reply of await Promise.all(inputs.map((input) => engine.handle(input)))) {
      if (isRefusal(reply)) throw new Error(reply.detail);
    }
  }

  #obey(effect: Effect): void {
    if (effect.kind !== 'start' && effect.kind !== 'stop') return;
    const now = this.#clock.now();
    const { view } = present(this.#engine, 'engine');
    const { phase, committedAt, ref } = present(view.allocations.get(effect.allocationId), 'allocation of an order');
    if (phase.kind === 'stopping') {
      this.#agenda.push(now, ended(effect, { kind: 'stopped', reason: phase.reason, ranMs: 0 }));
      return;
    }
    const { spec, submittedAt } = present(view.jobs.get(ref.jobId), 'job of an order');
    const { runMs } = present(CLASSES.get(spec.name), 'class of a workload');
    if (ref.attempt === 1) this.waits.get(spec.name)?.push(committedAt - submittedAt);
    this.#agenda.push(now, started(effect));
    this.#agenda.push(now + runMs, ended(effect, { kind: 'exited', exitCode: 0, ranMs: runMs }));
  }
}

interface Order {
  readonly nodeId: NodeId;
  readonly allocationId: AllocationId;
}

function started({ nodeId, allocationId }: Order): Input {
  return { type: 'agentReported', nodeId, report: { allocationId, phase: 'running', ageMs: 0 } };
}

function ended({ nodeId, allocationId }: Order, end: AllocationEnd): Input {
  const reported = { end, stdoutBytes: 0, stderrBytes: 0 };
  return { type: 'agentReported', nodeId, report: { allocationId, phase: 'ended', ageMs: 0, end: reported } };
}

interface Happening {
  readonly afterMs: number;
  readonly input: Input;
}

function* joins(): Generator<Happening> {
  const capacity = { cpuMillis: NODE_CPUS * 1_000, memoryMiB: 0, diskMiB: 0 };
  for (let cohort = 0; cohort < COHORTS; cohort += 1) {
    const inventory = anInventory({ capacity, labels: { cohort: `${cohort}` } });
    for (let node = 0; node < (QUEUES_PER_COHORT * OWNED_CPUS) / NODE_CPUS; node += 1) {
      yield { afterMs: 0, input: { type: 'agentJoined', hello: aHello(`c${cohort}-n${node}`, { inventory }) } };
    }
  }
}

function* submissions(): Generator<Happening> {
  for (let cohort = 0; cohort < COHORTS; cohort += 1) {
    for (let queue = 0; queue < QUEUES_PER_COHORT; queue += 1) {
      for (const [name, { count, intervalMs }] of CLASSES) {
        const spec = workload(name, cohort, queue);
        for (let sent = 1; sent <= count; sent += 1) {
          yield { afterMs: sent * intervalMs, input: { type: 'submitJob', spec, by: 'bench' } };
        }
      }
    }
  }
}

function workload(name: string, cohort: number, queue: number): JobSpec {
  const { cpus, priority } = present(CLASSES.get(name), 'class');
  return oneStep(
    {
      resources: { cpuMillis: cpus * 1_000, memoryMiB: 0, diskMiB: 0 },
      constraints: [{ key: 'label:cohort', op: 'in', values: [`${cohort}`] }],
    },
    { name, namespace: `queue-${cohort}-${queue}`, priority },
  );
}

function queueLimits(): Limits {
  const cpuMillis = (OWNED_CPUS + BORROWABLE_CPUS) * 1_000;
  return { ...NO_LIMITS, namespaces: new Map([[EVERYBODY, { cpuMillis }]]) };
}
