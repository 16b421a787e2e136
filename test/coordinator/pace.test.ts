import t from 'tap';
import { measure } from '../../coordinator/simulate/measure.js';
import type { Scenario } from '../../coordinator/simulate/scenario.js';
import { simulate } from '../../coordinator/simulate/simulate.js';
import { present } from '../../shared/assert.js';
import { randomScenario } from '../bench/arrival-scripts.js';

t.test('a cluster on which everything happens sixty times as fast does the same', async (t) => {
  for (const seed of [6, 9]) {
    const { scenario } = randomScenario(seed);
    const [usual, fast] = [scenario, faster(scenario, 60)].map(async (each) => {
      const { waits: found, nodeHours } = measure(await simulate(each), each.pools, each.windowMs);
      return { waitSeconds: found.all?.mean ?? 0, hours: nodeHours.total };
    });
    const [slowly, quickly] = [await present(usual, 'usual'), await present(fast, 'fast')];
    const told = `seed ${seed}: ${JSON.stringify({ slowly, quickly })}`;
    t.ok(Math.abs(quickly.waitSeconds * 60 - slowly.waitSeconds) < 5 + 0.1 * slowly.waitSeconds, told);
    t.ok(Math.abs(quickly.hours * 60 - slowly.hours) < 0.05 * slowly.hours, told);
  }
});

/** The same work and machines, each time a part of what it was. */
function faster(scenario: Scenario, speedup: number): Scenario {
  const part = (durationMs: number): number => Math.round(durationMs / speedup);
  return {
    ...scenario,
    windowMs: scenario.windowMs === null ? null : part(scenario.windowMs),
    pools: scenario.pools.map((pool) => ({
      ...pool,
      idleMs: part(pool.idleMs),
      times: {
        bootMs: part(pool.times.bootMs),
        resumeMs: part(pool.times.resumeMs),
        offMs: part(pool.times.offMs),
      },
    })),
    arrivals: scenario.arrivals.map((arrival) => {
      return { ...arrival, submitMs: part(arrival.submitMs), runMs: part(arrival.runMs) };
    }),
  };
}
