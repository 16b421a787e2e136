import { checkEnd } from './checks.js';
import { randomFaults } from './faults.js';
import { RACES } from './races.js';
import { type SimResult, World, type WorldOptions } from './world.js';

/** Runs one seed and checks everything. */
export async function simulate(seed: number, options: WorldOptions = {}): Promise<SimResult> {
  const world = new World(seed, options);
  const result = await world.run(randomFaults(world));
  await checkEnd(world);
  await world.coordinator.checkReplay();
  return result;
}

/**
 * `npm run sim -- --seed N` tells the story of a seed; `--seeds FROM-TO` runs many and tells only of failures. With
 * `--races` before it, the worlds are those in which assignment and power-off race.
 */
async function main(argv: readonly string[]): Promise<number> {
  const isRace = argv[0] === '--races';
  const options: WorldOptions = isRace ? { shape: RACES } : {};
  const [flag, value = ''] = isRace ? argv.slice(1) : argv;
  if (flag === '--seed' && /^\d+$/.test(value)) {
    return report(await simulate(Number(value), { ...options, print: console.log }));
  }
  const range = /^(\d+)-(\d+)$/.exec(value);
  if (flag !== '--seeds' || !range) {
    console.error('usage: npm run sim -- [--races] --seed N | --seeds FROM-TO');
    return 64;
  }
  return runRange(value, { from: Number(range[1]), to: Number(range[2]) }, options);
}

async function runRange(name: string, range: { from: number; to: number }, options: WorldOptions): Promise<number> {
  let failures = 0;
  const total = { jobs: 0, starts: 0, crashes: 0, events: 0, switchedOff: 0 };
  for (let seed = range.from; seed <= range.to; seed += 1) {
    const result = await simulate(seed, options);
    total.jobs += result.jobCount;
    total.starts += result.startCount;
    total.crashes += result.crashCount;
    total.events += result.story.eventCount;
    total.switchedOff += result.story.switchOffCount;
    if (result.story.brokenClaims.length > 0) failures += report(result);
  }
  console.log(`${name}: ${failures} seeds failed; ${JSON.stringify(total)}`);
  return failures === 0 ? 0 : 1;
}

const SHOWN_LINES = 40;

function report({ seed, story, virtualMs, jobCount, startCount }: SimResult): number {
  const { brokenClaims, lines } = story;
  if (brokenClaims.length === 0) {
    console.log(
      `seed ${seed}: ${jobCount} jobs, ${startCount} starts in ${virtualMs / 1000} virtual seconds: all claims hold`,
    );
    return 0;
  }
  console.log(`seed ${seed} FAILED; its last events:\n${lines.slice(-SHOWN_LINES).join('\n')}`);
  for (const claim of brokenClaims) console.log(`  broken: ${claim}`);
  console.log(`again with: npm run sim -- --seed ${seed}`);
  return 1;
}

if (process.argv[1]?.endsWith('sim/main.js')) process.exitCode = await main(process.argv.slice(2));
