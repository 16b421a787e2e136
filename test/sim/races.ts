import { below, type Random } from '../../shared/random.js';
import { aJob, aStep } from '../kit/builders.js';
import { aPool } from './machines.js';
import type { Shape } from './world.js';

const MAX_IDLE_MS = 1_500;
const MAX_RUN_MS = 1_200;

/**
 * A world in which assignment and power-off race: no machine but rented ones, which are let go after moments, and short
 * jobs that come just then.
 */
export const RACES: Shape = {
  agentCount: () => 0,
  pools: (random) => [
    {
      ...aPool(random),
      ...{ max: 1 + below(random, 2), min: 0, warm: { kind: 'nodes', count: 0 } },
      idleMs: below(random, MAX_IDLE_MS),
    },
  ],
  jobCount: (random) => 6 + below(random, 8),
  job: (random, number) => aJob({ name: `job-${number}`, steps: [shortStep(random)], allowFutureNodes: true }),
  troubledMs: 30_000,
};

function shortStep(random: Random) {
  return aStep({
    env: { SIM_RUN_MS: `${1 + below(random, MAX_RUN_MS)}`, SIM_EXIT: '0', SIM_OUTPUT_BYTES: `${below(random, 50)}` },
    retry: { maxAttempts: 6, backoffMs: below(random, 500), on: ['lost', 'rejected'] },
  });
}
