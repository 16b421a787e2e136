import { parseScenario } from '../../coordinator/simulate/read-scenario.js';
import type { Scenario } from '../../coordinator/simulate/scenario.js';
import { AppError, isRefusal } from '../../shared/errors.js';
import { type Random, seededRandom } from '../../shared/random.js';

/** A scenario by chance: half have the pools of a small hospital's cluster, half others; jobs come in various ways. */
export function randomScenario(seed: number): { readonly scenario: Scenario; readonly isUsual: boolean } {
  const chance = new Chance(seededRandom(seed));
  const isUsual = chance.next() < 0.5;
  const { text: pools, slots } = isUsual ? usualPools() : otherPools(chance);
  const runs = {
    small: isUsual && chance.next() < 0.5 ? 240 : chance.whole(60, 900),
    large: isUsual && chance.next() < 0.5 ? 1_200 : chance.whole(300, 3_600),
  };
  const spanSeconds = chance.between(1.5, 4) * 3_600;
  const rows = (['small', 'large'] as const).flatMap((type) => {
    const perSecond = (chance.between(0.1, type === 'small' ? 0.6 : 0.55) * slots[type]) / runs[type];
    return arrivals(chance, perSecond, spanSeconds * 0.7).map((at) => ({ type, at: Math.round(at) }));
  });
  rows.sort((left, right) => left.at - right.at);
  const window = Math.round(Math.max(spanSeconds, (rows.at(-1)?.at ?? 0) + 4 * runs.large));
  const text = `window: ${window}s
pools:
${pools}
jobs:
  small: { run: ${runs.small}s, pool: small, resources: { cpus: 2, memory: 4GiB } }
  large: { run: ${runs.large}s, pool: large, exclusive: true, resources: { cpus: 8, memory: 50GiB } }
arrivals: a.csv`;
  const lines = rows.map(({ type, at }, index) => `${type}-${index},${type},${at}`);
  const scenario = parseScenario(text, () => ['id,type,submit_seconds', ...lines].join('\n'));
  if (isRefusal(scenario)) throw AppError.fromRefusal(scenario);
  return { scenario, isUsual };
}

class Chance {
  readonly #random: Random;
  constructor(random: Random) {
    this.#random = random;
  }
  next(): number {
    return this.#random.next();
  }
  between(low: number, high: number): number {
    return low + (high - low) * this.next();
  }
  whole(low: number, high: number): number {
    return Math.round(this.between(low, high));
  }
  of<Value>(values: readonly [Value, ...Value[]]): Value {
    return values[Math.floor(this.next() * values.length)] ?? values[0];
  }
  /** Until the next of things that come at this rate. */
  gap(perSecond: number): number {
    return -Math.log(1 - this.next()) / perSecond;
  }
}

interface Pools {
  readonly text: string;
  /** Tasks that fit at once. */
  readonly slots: { readonly small: number; readonly large: number };
}

function usualPools(): Pools {
  const times = 'idle: 60s, times: { boot: 570s, resume: 150s, off: 60s }';
  return {
    text: `  - { name: small, node: { cpus: 6, memory: 56GiB }, max: 3, warm: 1, onIdle: suspend, quota: 3, ${times} }
  - { name: large, node: { cpus: 8, memory: 56GiB }, max: 3, onIdle: terminate, quota: 2, ${times} }`,
    slots: { small: 9, large: 3 },
  };
}

function otherPools(chance: Chance): Pools {
  const boot = chance.whole(90, 900);
  const resume = Math.round(Math.min(boot * chance.between(0.15, 0.6), 300));
  const times = `times: { boot: ${boot}s, resume: ${resume}s, off: ${chance.whole(15, 120)}s }`;
  const pool = (name: string, cpus: number, max: number): string => {
    const quota = chance.of([max, max, max - 1]);
    const warm = Math.min(quota, chance.of(name === 'small' ? [0, 1, 1, 2] : [0, 0, 1]));
    const manner = `onIdle: ${chance.of(['suspend', 'suspend', 'terminate'])}, idle: ${chance.of([60, 120, 300])}s`;
    const size = `node: { cpus: ${cpus}, memory: 64GiB }, max: ${max}, quota: ${quota}, warm: ${warm}`;
    return `  - { name: ${name}, ${size}, ${manner}, ${times} }`;
  };
  const cpus = chance.of([4, 6, 8, 16]);
  const max = { small: chance.whole(2, 8), large: chance.whole(2, 5) };
  return {
    text: `${pool('small', cpus, max.small)}\n${pool('large', 8, max.large)}`,
    slots: { small: (cpus / 2) * max.small, large: max.large },
  };
}

/** At most so many of a kind. */
const MAX_ARRIVALS = 300;

/** Moments at which something comes, at this rate in the mean: evenly, by turns, in bursts, or more and more. */
function arrivals(chance: Chance, perSecond: number, untilSeconds: number): readonly number[] {
  const manner = chance.of<'even' | 'turns' | 'bursts' | 'more'>(['even', 'turns', 'turns', 'bursts', 'more']);
  const found: number[] = [];
  const busy = chance.between(600, 2_400);
  const quiet = chance.between(600, 2_400);
  const burst = chance.between(2, 8);
  const rate = {
    even: perSecond,
    turns: (perSecond * (busy + quiet)) / busy,
    bursts: perSecond / burst,
    more: 2 * perSecond,
  };
  for (let at = chance.gap(rate[manner]); at < untilSeconds; at += chance.gap(rate[manner])) {
    if (found.length >= MAX_ARRIVALS) break;
    if (manner === 'turns' && at % (busy + quiet) > busy) continue;
    if (manner === 'more' && chance.next() > at / untilSeconds) continue;
    found.push(at);
    for (let more = manner === 'bursts' ? chance.whole(0, 2 * burst) : 0; more > 0; more -= 1) {
      found.push((found.at(-1) ?? at) + chance.between(0, 30));
    }
  }
  return found;
}
