import { type History, measure } from '../../coordinator/simulate/measure.js';
import { parseScenario } from '../../coordinator/simulate/read-scenario.js';
import { simulate } from '../../coordinator/simulate/simulate.js';
import { AppError, isRefusal } from '../../shared/errors.js';

/** How long its machines took in a run of the experiment, in seconds of the experiment. */
export interface PoolTimes {
  readonly boot: number;
  readonly resume: number;
  readonly off: number;
}

/** The founding experiment in virtual time, with machines that take as long as they took in a real run. */
export async function simulatedTable4(
  arrivals: string,
  times: { readonly small: PoolTimes; readonly large: PoolTimes },
): Promise<{ readonly history: History; readonly nodeHours: number; readonly powerOns: number }> {
  const timesOf = ({ boot, resume, off }: PoolTimes): string =>
    `times: { boot: ${boot}s, resume: ${resume}s, off: ${off}s }`;
  const text = `window: 2h30m
pools:
  - { name: small, node: { cpus: 6, memory: 56GiB }, max: 3, warm: 1, onIdle: suspend, idle: 60s, ${timesOf(times.small)} }
  - { name: large, node: { cpus: 8, memory: 56GiB }, max: 2, onIdle: terminate, idle: 60s, ${timesOf(times.large)} }
jobs:
  small: { run: 4m, pool: small, resources: { cpus: 2, memory: 15GiB } }
  large: { run: 20m, pool: large, exclusive: true, resources: { cpus: 8, memory: 50GiB } }
arrivals: table4.csv`;
  const scenario = parseScenario(text, () => arrivals.replace(/^#.*\n/gm, ''));
  if (isRefusal(scenario)) throw AppError.fromRefusal(scenario);
  const history = await simulate(scenario);
  const { nodeHours, powerOns } = measure(history, scenario.pools, scenario.windowMs);
  return { history, nodeHours: nodeHours.total, powerOns };
}
