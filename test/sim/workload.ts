import type { GpuSpec, JobSpec, RetrySpec, StepSpec } from '../../shared/job-spec/spec.js';
import { below, type Random } from '../../shared/random.js';
import { aJob, aStep } from '../kit/builders.js';
import { MIG_PROFILE, MOST_GPUS } from './machines.js';

/** What a simulated command does, told to the fake driver by its environment. */
export interface Behaviour {
  readonly runMs: number;
  readonly exitCode: number;
  readonly outputBytes: number;
}

const MAX_TASKS = 6;
const MAX_RUN_MS = 20_000;
/** Some run for longer than an attempt is spared from preemption. */
const LONG_RUN_MS = 100_000;
/** Of a gang: as many as every quota lets run at once, so small that what machines are left hold them. */
const RANKS = '0-1';
const RANK = { cpuMillis: 500, memoryMiB: 256, diskMiB: 0, gpus: null } as const;

/** A random job that fits the nodes of the simulation: one step or a small graph, some of whose tasks fail. */
export function randomJob(random: Random, number: number): JobSpec {
  const stepCount = below(random, 4) === 0 ? 2 + below(random, 2) : 1;
  const names = Array.from({ length: stepCount }, (_, position) => (stepCount === 1 ? 'main' : `s${position}`));
  const steps = names.map((name, position) => randomStep(random, name, names.slice(0, position)));
  return aJob({
    name: below(random, 3) === 0 ? 'nightly' : `job-${number}`,
    namespace: below(random, 2) === 0 ? 'a' : 'b',
    priority: 100 * (below(random, 3) - 1),
    steps,
    hold: below(random, 12) === 0,
    // The machine that has what it needs may not have joined yet.
    allowFutureNodes: true,
  });
}

export function randomUser(random: Random): string {
  return below(random, 2) === 0 ? 'ann' : 'bob';
}

function randomStep(random: Random, name: string, earlier: readonly string[]): StepSpec {
  const behaviour: Behaviour = {
    runMs: (below(random, 12) === 0 ? LONG_RUN_MS : 1) + below(random, MAX_RUN_MS),
    exitCode: below(random, 8) === 0 ? 1 : 0,
    outputBytes: below(random, 3) === 0 ? below(random, 5_000) : 0,
  };
  return aStep({
    name,
    needs: earlier.filter(() => below(random, 2) === 0),
    env: environmentOf(behaviour),
    ...(below(random, 5) === 0 ? { gang: true, array: RANKS, resources: RANK } : randomArray(random)),
    timeLimitMs: randomTimeLimit(random, behaviour),
    retry: randomRetry(random),
    stop: { signal: 'SIGTERM', graceMs: below(random, 3_000) },
    ...(below(random, 3) === 0 ? { checkpoint: { signal: 'SIGUSR1', graceMs: below(random, 5_000) } } : {}),
  });
}

function randomArray(random: Random): Pick<StepSpec, 'array' | 'resources' | 'exclusive' | 'maxParallel'> {
  return {
    array: `0-${below(random, MAX_TASKS)}`,
    ...randomDemand(random),
    ...(below(random, 5) === 0 ? { maxParallel: 1 + below(random, 3) } : {}),
  };
}

function randomDemand(random: Random): Pick<StepSpec, 'resources' | 'exclusive'> {
  const isExclusive = below(random, 8) === 0;
  const licences = randomLicences(random);
  return {
    resources: {
      cpuMillis: 500 * (1 + below(random, 4)),
      memoryMiB: 256 * (1 + below(random, 4)),
      diskMiB: 0,
      gpus: isExclusive ? null : randomGpus(random),
      ...(licences ? { licences } : {}),
    },
    ...(isExclusive ? { exclusive: true } : {}),
  };
}

function randomGpus(random: Random): GpuSpec | null {
  const whole = { count: 1, model: null, minMemoryMiB: null };
  switch (below(random, 8)) {
    case 0:
      return { ...whole, count: 1 + below(random, MOST_GPUS) };
    case 1:
      return { ...whole, shareMillis: 100 * (1 + below(random, 9)) };
    case 2:
      return { ...whole, memoryMiB: 8_192 * (1 + below(random, 9)), model: ['h100', 'a100'] };
    case 3:
      return { ...whole, mig: MIG_PROFILE };
    default:
      return null;
  }
}

function randomLicences(random: Random): Readonly<Record<string, number>> | undefined {
  if (below(random, 5) > 0) return undefined;
  return below(random, 2) === 0 ? { l: 1 + below(random, 3) } : { m: 1 };
}

/** None, one that ends some tasks, or one that only lets the planner look ahead. */
function randomTimeLimit(random: Random, { runMs }: Behaviour): number | null {
  switch (below(random, 6)) {
    case 0:
      return 1_000 + below(random, MAX_RUN_MS);
    case 1:
    case 2:
      return runMs + 10_000;
    default:
      return null;
  }
}

function environmentOf({ runMs, exitCode, outputBytes }: Behaviour): Record<string, string> {
  return { SIM_RUN_MS: `${runMs}`, SIM_EXIT: `${exitCode}`, SIM_OUTPUT_BYTES: `${outputBytes}` };
}

function randomRetry(random: Random): RetrySpec {
  const maxAttempts = [1, 2, 3, 6][below(random, 4)] ?? 1;
  const on =
    below(random, 2) === 0 ? (['lost', 'rejected'] as const) : (['lost', 'rejected', 'exited', 'time-limit'] as const);
  return { maxAttempts, backoffMs: below(random, 3_000), on };
}
