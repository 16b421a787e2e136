import { parseArgs } from 'node:util';
import { cluesPolicy } from '../../coordinator/simulate/clues.js';
import { type Measures, measure } from '../../coordinator/simulate/measure.js';
import { ALLOWANCES, allowed, type Scenario } from '../../coordinator/simulate/scenario.js';
import { simulate } from '../../coordinator/simulate/simulate.js';
import { randomScenario } from './arrival-scripts.js';
import { percentile, rounded, say } from './figures.js';

/** Ratios to what CLUES' rules make of the same scenario. */
interface Ratios {
  readonly wait: number;
  readonly hours: number;
}

/** A second more on both sides, so that a wait of nothing has a ratio. */
const GRAIN_SECONDS = 1;

/** Random arrival scripts under our policy and under CLUES' rules: waits and node-hours, as ratios. */
export async function elastic(args: string[]): Promise<object> {
  const { values } = parseArgs({
    args,
    options: { count: { type: 'string', default: '100' }, from: { type: 'string', default: '1' } },
  });
  const asItIs: Ratios[] = [];
  const withMeans: Ratios[] = [];
  for (let seed = Number(values.from); seed < Number(values.from) + Number(values.count); seed += 1) {
    const { scenario } = randomScenario(seed);
    if (scenario.arrivals.length === 0) continue;
    const clues = await measured(scenario, cluesPolicy());
    asItIs.push(ratios(await measured(scenario), clues));
    withMeans.push(ratios(await measured({ ...scenario, pools: allowed(scenario.pools, ALLOWANCES) }), clues));
    if (seed % 10 === 0) say(`${seed} scenarios`);
  }
  return { scenarioCount: asItIs.length, asItIs: distribution(asItIs), withOwnMeans: distribution(withMeans) };
}

async function measured(scenario: Scenario, scale?: ReturnType<typeof cluesPolicy>): Promise<Measures> {
  const history = await simulate(scenario, scale ? { scale } : {});
  return measure(history, scenario.pools, scenario.windowMs);
}

function ratios(ours: Measures, theirs: Measures): Ratios {
  const waitOf = ({ waits }: Measures): number => (waits.all?.mean ?? 0) + GRAIN_SECONDS;
  return { wait: waitOf(ours) / waitOf(theirs), hours: ours.nodeHours.total / theirs.nodeHours.total };
}

function distribution(found: readonly Ratios[]): object {
  const quantiles = (values: readonly number[]): object =>
    Object.fromEntries([10, 25, 50, 75, 90].map((share) => [`p${share}`, rounded(percentile(values, share / 100), 2)]));
  return {
    wait: quantiles(found.map(({ wait }) => wait)),
    hours: quantiles(found.map(({ hours }) => hours)),
    bothLowerOrEqual: found.filter(({ wait, hours }) => wait <= 1 && hours <= 1).length,
    bothHigher: found.filter(({ wait, hours }) => wait > 1 && hours > 1).length,
  };
}
