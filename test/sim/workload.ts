import type { JobSpec, RetrySpec, StepSpec } from '../../shared/job-spec/spec.js';
import { below, type Random } from '../../shared/random.js';
import { aJob, aStep } from '../kit/builders.js';

/** What a simulated command does, told to the fake driver by its environment. */
export interface Behaviour {
  readonly runMs: number;
  readonly exitCode: number;
  readonly outputBytes: number;
}

const MAX_TASKS = 6;
const MAX_RUN_MS = 20_000;

/** A random job that fits the nodes of the simulation: one step or a small graph, some of whose tasks fail. */
export function randomJob(random: Random, number: number): JobSpec {
  const stepCount = below(random, 4) === 0 ? 2 + below(random, 2) : 1;
  const names = Array.from({ length: stepCount }, (_, position) => (stepCount === 1 ? 'main' : `s${position}`));
  const steps = names.map((name, position) => randomStep(random, name, names.slice(0, position)));
  return aJob({ name: `job-${number}`, priority: below(random, 3) - 1, steps, hold: below(random, 12) === 0 });
}

function randomStep(random: Random, name: string, earlier: readonly string[]): StepSpec {
  const behaviour: Behaviour = {
    runMs: 1 + below(random, MAX_RUN_MS),
    exitCode: below(random, 8) === 0 ? 1 : 0,
    outputBytes: below(random, 3) === 0 ? below(random, 5_000) : 0,
  };
  return aStep({
    name,
    needs: earlier.filter(() => below(random, 2) === 0),
    array: `0-${below(random, MAX_TASKS)}`,
    env: environmentOf(behaviour),
    resources: { cpuMillis: 500 * (1 + below(random, 4)), memoryMiB: 256 * (1 + below(random, 4)) },
    timeLimitMs: below(random, 6) === 0 ? 1_000 + below(random, MAX_RUN_MS) : null,
    retry: randomRetry(random),
    stop: { signal: 'SIGTERM', graceMs: below(random, 3_000) },
  });
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
