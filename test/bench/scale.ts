import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Engine } from '../../coordinator/engine/engine.js';
import type { Effect, Input } from '../../coordinator/engine/inputs.js';
import { DEFAULT_PLAN_POLICY } from '../../coordinator/scheduler/plan.js';
import { ImmediatePricing } from '../../coordinator/scheduler/worth/pricing.js';
import { SqliteStore } from '../../coordinator/store/sqlite.js';
import { systemClock } from '../../shared/clock.js';
import { isRefusal } from '../../shared/errors.js';
import { type AllocationId, jobIdOf, type NodeId } from '../../shared/ids.js';
import { NO_LIMITS } from '../../shared/limits.js';
import { silentLog } from '../../shared/log.js';
import { aHello, anInventory, oneStep } from '../kit/builders.js';
import { rounded, say } from './figures.js';
import { memoryOf } from './process-figures.js';

const ARRAY_TASKS = 1_000_000;
const LIMIT_MS = 1_000;
/** 200 MB. */
const LIMIT_MIB = 200e6 / 2 ** 20;
const NODES = 8;
const NODE_CPUS = 64;
/** Ends that the virtual agents report at a time. */
const REPORTS = 512;
/** Tasks that run first, so that what Node itself takes for running any is not counted. */
const WARM_UP_TASKS = 2_000;
/** Tasks between two looks at the memory. */
const SAMPLE_TASKS = 5_000;

/**
 * An array of a million tasks on the real engine and the store on disk: what its submission takes, and how the resident
 * memory of the whole process grows while many of its tasks run to their end, in agents who answer at once.
 */
export async function scale(args: string[]): Promise<object> {
  const { values } = parseArgs({ args, options: { run: { type: 'string', default: '200000' } } });
  const stateDir = mkdtempSync(join(tmpdir(), 'berth-scale-'));
  try {
    return await measure(stateDir, Number(values.run));
  } finally {
    rmSync(stateDir, { recursive: true, force: true });
  }
}

async function measure(stateDir: string, runCount: number): Promise<object> {
  const cluster = await VirtualCluster.open(stateDir);
  await cluster.submit(WARM_UP_TASKS);
  await cluster.run(WARM_UP_TASKS, () => {});
  const idleMiB = residentMiB();
  const startedAt = performance.now();
  await cluster.submit(ARRAY_TASKS);
  const submitMs = performance.now() - startedAt;
  const addedMiB = residentMiB() - idleMiB;
  say(`submitted ${ARRAY_TASKS} tasks in ${rounded(submitMs)} ms, ${rounded(addedMiB)} MiB more`);
  const ranAt = performance.now();
  let highestMiB = 0;
  await cluster.run(runCount, () => {
    highestMiB = Math.max(highestMiB, residentMiB());
  });
  const seconds = (performance.now() - ranAt) / 1_000;
  const figures = {
    taskCount: ARRAY_TASKS,
    submitMs: rounded(submitMs),
    submitRatioToLimit: rounded(submitMs / LIMIT_MS, 3),
    addedMiB: rounded(addedMiB),
    addedRatioToLimit: rounded(addedMiB / LIMIT_MIB, 3),
    ranCount: runCount,
    ranPerSecond: Math.round(runCount / seconds),
    growthMiB: rounded(residentMiB() - idleMiB),
    highestGrowthMiB: rounded(highestMiB - idleMiB),
    growthRatioToLimit: rounded((highestMiB - idleMiB) / LIMIT_MIB, 3),
    ...(await cluster.whereabouts(runCount)),
  };
  await cluster.close();
  return figures;
}

function residentMiB(): number {
  return memoryOf(process.pid).rssMiB;
}

/** The engine, and agents whose tasks take no time. */
class VirtualCluster {
  readonly #started: Input[] = [];
  #engine: Engine | undefined;
  #jobCount = 0;

  static async open(stateDir: string): Promise<VirtualCluster> {
    const cluster = new VirtualCluster();
    cluster.#engine = await Engine.open({
      ...{ store: new SqliteStore({ stateDir }), clock: systemClock, log: silentLog, pricing: new ImmediatePricing() },
      rules: { nodeLeaseMs: 60_000, limits: NO_LIMITS },
      planning: DEFAULT_PLAN_POLICY,
      perform: (effects) => cluster.#obey(effects),
      // Whoever waits for an answer hears of it.
      onFailure: () => {},
    });
    const capacity = { cpuMillis: NODE_CPUS * 1_000, memoryMiB: NODE_CPUS * 1_024, diskMiB: 0 };
    for (let number = 1; number <= NODES; number += 1) {
      const hello = aHello(`n${number}`, { inventory: anInventory({ capacity }) });
      await cluster.engine.handle({ type: 'agentJoined', hello });
    }
    return cluster;
  }

  get engine(): Engine {
    if (!this.#engine) throw new Error('the engine is not open');
    return this.#engine;
  }

  async submit(count: number): Promise<void> {
    const spec = oneStep({ array: `0-${count - 1}` });
    const reply = await this.engine.handle({ type: 'submitJob', spec, by: 'bench' });
    if (isRefusal(reply)) throw new Error(reply.detail);
    this.#jobCount += 1;
  }

  async run(count: number, sample: () => void): Promise<void> {
    for (let doneCount = 0, sampledAt = 0; doneCount < count; ) {
      const ends = this.#started.splice(0, Math.min(REPORTS, count - doneCount));
      if (ends.length === 0) throw new Error(`nothing runs after ${doneCount} tasks`);
      await this.engine.handleAll(ends);
      doneCount += ends.length;
      if (doneCount - sampledAt < SAMPLE_TASKS) continue;
      sampledAt = doneCount;
      sample();
    }
  }

  /** Where the done tasks of the array are; throws when one is missing. */
  async whereabouts(runCount: number): Promise<object> {
    const { view, archive } = this.engine;
    const jobId = jobIdOf(this.#jobCount);
    const step = view.jobs.get(jobId)?.steps.get('main');
    const archivedCount = step?.left?.succeeded.reduce((sum, { from, to }) => sum + to - from + 1, 0) ?? 0;
    const inMemoryCount = [...(step?.tasks.values() ?? [])].filter(({ phase }) => phase.kind === 'done').length;
    const first = await archive.pastTasks(jobId, 'main', [0, archivedCount - 1]);
    if (archivedCount + inMemoryCount !== runCount || first.length !== 2) throw new Error('a task is missing');
    return { archivedCount, inMemoryCount };
  }

  close(): Promise<void> {
    return this.engine.close();
  }

  #obey(effects: readonly Effect[]): void {
    for (const effect of effects) if (effect.kind === 'start') this.#started.push(ended(effect));
  }
}

function ended({ nodeId, allocationId }: { readonly nodeId: NodeId; readonly allocationId: AllocationId }): Input {
  const end = { end: { kind: 'exited', exitCode: 0, ranMs: 1 }, stdoutBytes: 0, stderrBytes: 0 } as const;
  return { type: 'agentReported', nodeId, report: { allocationId, phase: 'ended', ageMs: 0, end } };
}
