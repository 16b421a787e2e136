import type { Test } from 'tap';
import type { DriverEnd, DriverEvent, DriverFactory, OutputBytes, TaskDriver } from '../../agent/driver/driver.js';
import type { AllocationId } from '../../shared/ids.js';
import type { StartOrder } from '../../shared/wire/messages.js';
import { until } from '../kit/until.js';

/** What a command of the suite does; each driver's bench says how. */
export interface Behaviour {
  readonly runMs?: number;
  /** A status, or the name of the signal by which it kills itself. */
  readonly exit?: number | string;
  readonly outputBytes?: number;
  readonly ignoresTerm?: boolean;
  readonly workdir?: string;
}

/** One machine on which a driver works; the driver may be closed and made again. */
export interface DriverBench {
  readonly factory: DriverFactory;
  order(id: AllocationId, behaviour: Behaviour): StartOrder;
  /** How often the command of the allocation began. */
  startCount(id: AllocationId): number;
  /** Byte of a command's output at a place. */
  outputByte(offset: number): number;
  /** What the world below this driver cannot do. */
  readonly differs?: {
    /** It keeps one number for both: status 137 and SIGKILL are the same. */
    readonly signalsAreStatuses: true;
    /** A missing working directory is made. */
    readonly workdirIsMade: true;
  };
}

/** A driver and all that it has told. */
export class Watched {
  readonly events: DriverEvent[] = [];
  readonly driver: TaskDriver;

  private constructor(driver: TaskDriver, events: DriverEvent[]) {
    this.driver = driver;
    this.events = events;
  }

  static async open(factory: DriverFactory): Promise<Watched> {
    const events: DriverEvent[] = [];
    return new Watched(await factory((event) => events.push(event)), events);
  }

  async started(id: AllocationId): Promise<void> {
    await until(`start of ${id}`, () =>
      this.events.some((event) => event.kind === 'started' && event.allocationId === id),
    );
  }

  async ended(id: AllocationId): Promise<{ readonly end: DriverEnd; readonly output: OutputBytes }> {
    const find = () => this.events.find((event) => event.kind === 'ended' && event.allocationId === id);
    await until(`end of ${id}`, () => find() !== undefined);
    const event = find();
    if (event?.kind !== 'ended') throw new Error('unreachable');
    return { end: event.end, output: event.output };
  }
}

const LONG_MS = 60_000;
const nameOf = (sequence: number): AllocationId => `j${sequence}.0#1` as AllocationId;

/** What every task driver must do, whatever it is made of. */
export function taskDriverConformance(t: Test, makeBench: (t: Test) => DriverBench): void {
  for (const [title, run] of Object.entries(PROMISES)) {
    t.test(title, async (t) => {
      const bench = makeBench(t);
      const watched = await Watched.open(bench.factory);
      await watched.driver.recover([]);
      try {
        await run(t, bench, watched);
      } finally {
        await watched.driver.close();
      }
    });
  }
}

type Promised = (t: Test, bench: DriverBench, watched: Watched) => Promise<void>;

const PROMISES: Readonly<Record<string, Promised>> = {
  'a command is started, and its end carries its status and how long it ran': async (t, bench, watched) => {
    for (const exit of [0, 7, 255]) {
      const id = nameOf(exit + 1);
      await watched.driver.start(bench.order(id, { exit, runMs: 50 }));
      const { end } = await watched.ended(id);
      t.match(end, { kind: 'exited', exitCode: exit });
      t.ok('ranMs' in end && end.ranMs >= 20 && end.ranMs < LONG_MS, 'the time is that of the command');
      const kinds = watched.events.filter((event) => event.allocationId === id).map((event) => event.kind);
      t.strictSame(kinds, ['started', 'ended']);
    }
  },

  'a signal and a status that looks like one are told apart': async (t, bench, watched) => {
    await watched.driver.start(bench.order(nameOf(1), { exit: 137 }));
    await watched.driver.start(bench.order(nameOf(2), { exit: 'SIGKILL' }));
    await watched.driver.start(bench.order(nameOf(3), { exit: 'SIGTERM' }));
    const status = bench.differs ? { kind: 'signaled', signal: 'SIGKILL' } : { kind: 'exited', exitCode: 137 };
    t.match((await watched.ended(nameOf(1))).end, status);
    t.match((await watched.ended(nameOf(2))).end, { kind: 'signaled', signal: 'SIGKILL' });
    t.match((await watched.ended(nameOf(3))).end, { kind: 'signaled', signal: 'SIGTERM' });
  },

  'output is read by offset, and its size comes with the end': async (t, bench, watched) => {
    const id = nameOf(1);
    await watched.driver.start(bench.order(id, { outputBytes: 100_000 }));
    const { output } = await watched.ended(id);
    t.strictSame(output, { stdoutBytes: 100_000, stderrBytes: 0 });
    const read = (offset: number, maxBytes: number) => watched.driver.read(id, 'stdout', offset, maxBytes);
    t.strictSame(
      [...(await read(99_990, 100))],
      Array.from({ length: 10 }, (_, at) => bench.outputByte(99_990 + at)),
    );
    t.equal((await read(0, 1_000)).length, 1_000);
    t.equal((await read(100_000, 10)).length, 0);
    t.equal((await watched.driver.read(id, 'stderr', 0, 10)).length, 0);
    t.equal((await watched.driver.read(nameOf(9), 'stdout', 0, 10)).length, 0, 'an unknown attempt has none');
  },

  'an attempt starts once, however often and concurrently it is asked for': async (t, bench, watched) => {
    const id = nameOf(1);
    const order = bench.order(id, { runMs: 20 });
    await Promise.all([watched.driver.start(order), watched.driver.start(order), watched.driver.start(order)]);
    await watched.ended(id);
    await watched.driver.start(order);
    await watched.driver.start(bench.order(nameOf(2), {}));
    await watched.ended(nameOf(2));
    t.equal(bench.startCount(id), 1);
  },

  'a missing working directory is a failed start, not an error': async (t, bench, watched) => {
    await watched.driver.start(bench.order(nameOf(1), { workdir: '/missing/folder' }));
    if (bench.differs) {
      t.match((await watched.ended(nameOf(1))).end, { kind: 'exited', exitCode: 0 });
      return;
    }
    t.match((await watched.ended(nameOf(1))).end, { kind: 'start-failed', message: /\/missing\/folder/ });
    t.equal(bench.startCount(nameOf(1)), 0);
  },

  'a signal ends a command; SIGKILL ends one that ignores it': async (t, bench, watched) => {
    await watched.driver.start(bench.order(nameOf(1), { runMs: LONG_MS }));
    await watched.driver.start(bench.order(nameOf(2), { runMs: LONG_MS, ignoresTerm: true }));
    await Promise.all([watched.started(nameOf(1)), watched.started(nameOf(2))]);
    await until('the command ignores SIGTERM', () => bench.startCount(nameOf(2)) === 1);
    await watched.driver.signal(nameOf(1), 'SIGTERM');
    t.match((await watched.ended(nameOf(1))).end, { kind: 'signaled', signal: 'SIGTERM' });
    await watched.driver.signal(nameOf(2), 'SIGTERM');
    await watched.driver.signal(nameOf(2), 'SIGKILL');
    t.match((await watched.ended(nameOf(2))).end, { kind: 'signaled', signal: 'SIGKILL' });
    await watched.driver.signal(nameOf(1), 'SIGKILL');
    await watched.driver.signal(nameOf(9), 'SIGKILL');
  },

  'a kill right after the start leaves nothing running': async (t, bench, watched) => {
    await watched.driver.start(bench.order(nameOf(1), { runMs: LONG_MS }));
    await watched.driver.signal(nameOf(1), 'SIGKILL');
    t.match((await watched.ended(nameOf(1))).end, { kind: 'signaled', signal: 'SIGKILL' });
  },

  'a running command survives its driver, and the next one watches it to its end': async (t, bench, watched) => {
    const id = nameOf(1);
    await watched.driver.start(bench.order(id, { runMs: 700, exit: 3 }));
    await watched.started(id);
    await watched.driver.close();
    const next = await Watched.open(bench.factory);
    t.teardown(() => next.driver.close());
    const recovery = (await next.driver.recover([id, nameOf(2)])).get(id);
    t.match(recovery, { kind: 'running' });
    t.ok(recovery?.kind === 'running' && recovery.startedAgeMs >= 0 && recovery.startedAgeMs < 10_000);
    await next.driver.start(bench.order(id, {}));
    t.match((await next.ended(id)).end, { kind: 'exited', exitCode: 3 });
    t.equal(bench.startCount(id), 1);
  },

  'what ended without a driver is told by recover, once; what never was is absent': async (t, bench, watched) => {
    const id = nameOf(1);
    await watched.driver.start(bench.order(id, { runMs: 200, exit: 4, outputBytes: 10 }));
    await watched.started(id);
    await watched.driver.close();
    await new Promise((resolve) => setTimeout(resolve, 500));
    const next = await Watched.open(bench.factory);
    t.teardown(() => next.driver.close());
    const recoveries = await next.driver.recover([id, nameOf(2)]);
    t.match(recoveries.get(id), { kind: 'ended', end: { kind: 'exited', exitCode: 4 }, output: { stdoutBytes: 10 } });
    t.strictSame(recoveries.get(nameOf(2)), { kind: 'absent' });
    t.strictSame(next.events, []);
    await next.driver.start(bench.order(id, {}));
    t.equal(bench.startCount(id), 1);
  },

  'a removed attempt leaves nothing to read': async (t, bench, watched) => {
    const id = nameOf(1);
    await watched.driver.start(bench.order(id, { outputBytes: 10 }));
    await watched.ended(id);
    await watched.driver.remove(id);
    await watched.driver.remove(id);
    t.equal((await watched.driver.read(id, 'stdout', 0, 10)).length, 0);
    t.strictSame((await watched.driver.recover([id])).get(id), { kind: 'absent' });
  },
};
