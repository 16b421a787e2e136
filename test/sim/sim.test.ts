import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import type { LoggedEvent } from '../../coordinator/model/events.js';
import type { Departure } from '../../coordinator/model/past.js';
import { MemoryStore } from '../../coordinator/store/memory.js';
import type { Clock } from '../../shared/clock.js';
import { simulate } from './main.js';

const MAIN = fileURLToPath(new URL('main.js', import.meta.url));
/** One range a process: as many as the machines that run these tests have cores. */
const RANGES = ['1-1000', '1001-2000'];
/** `npm run sim -- --races --seeds 1-10000` runs them all. */
const RACES = '1-500';
const LIMIT_MS = 300_000;

t.setTimeout(LIMIT_MS);

t.test('2,000 seeds of trouble break no promise', async (t) => {
  const run = promisify(execFile);
  await Promise.all(
    RANGES.map(async (range) => {
      const { stdout } = await run(process.execPath, [MAIN, '--seeds', range], { maxBuffer: 2 ** 26 }).catch(
        (error: { stdout?: string; stderr?: string }) => ({ stdout: `${error.stdout ?? ''}${error.stderr ?? ''}` }),
      );
      t.match(stdout, `${range}: 0 seeds failed`);
    }),
  );
});

t.test('no machine is switched off while it holds something, in 500 races of assignment and power-off', async (t) => {
  const run = promisify(execFile);
  const { stdout } = await run(process.execPath, [MAIN, '--races', '--seeds', RACES], { maxBuffer: 2 ** 26 }).catch(
    (error: { stdout?: string; stderr?: string }) => ({ stdout: `${error.stdout ?? ''}${error.stderr ?? ''}` }),
  );
  t.match(stdout, `${RACES}: 0 seeds failed`);
});

t.test('a seed tells the same story each time', async (t) => {
  const [first, second] = [await simulate(7), await simulate(7)];
  t.strictSame(second.story.lines, first.story.lines);
  t.ok(first.story.lines.length > 50);
});

/** Says that it has written what it has not: the disk that ignores fsync. */
class LyingStore extends MemoryStore {
  static readonly #flushEveryMs = 3_000;

  constructor(clock: Clock) {
    super({ durable: 'on-flush' });
    const flush = (): void => {
      this.flush();
      clock.after(LyingStore.#flushEveryMs, flush);
    };
    flush();
  }

  override async append(events: readonly LoggedEvent[], departures: readonly Departure[] = []): Promise<void> {
    super.append(events, departures).catch(() => {});
  }
}

t.test('a disk that lies about durability is found out', async (t) => {
  let foundOut = 0;
  for (let seed = 1; seed <= 60; seed += 1) {
    const { story } = await simulate(seed, { makeStore: (clock) => new LyingStore(clock) });
    if (story.brokenClaims.some((claim) => /acknowledged and is lost|started 2 times|is key|and j/.test(claim)))
      foundOut += 1;
  }
  t.ok(foundOut > 0, `${foundOut} of 60 seeds`);
});
