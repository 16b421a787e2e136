import t from 'tap';
import type { StagedOut, Staging } from '../../agent/staging/staging.js';
import { AppError } from '../../shared/errors.js';
import type { StartOrder } from '../../shared/wire/messages.js';
import { fakeOrder, idOf, Rig } from './rig.js';

const id = idOf(1);
const STAGED: StagedOut = {
  record: { inputs: [], outputs: [{ path: 'x', sha256: 'a'.repeat(64), sizeBytes: 1 }] },
  failure: null,
};
const REFUSED = new AppError('task-start-failed', 'inputs[0]: no such file');

/** Staging that takes so long, on the rig's clock, and says what was asked of it. */
class SlowStaging implements Staging {
  readonly calls: string[] = [];
  readonly #rig: Rig;
  readonly #takes: {
    readonly inMs?: number;
    readonly outMs?: number;
    readonly fault?: AppError;
    readonly out?: StagedOut;
  };

  constructor(rig: Rig, takes: { inMs?: number; outMs?: number; fault?: AppError; out?: StagedOut }) {
    this.#rig = rig;
    this.#takes = takes;
  }

  async stageIn(order: StartOrder, signal: AbortSignal): Promise<StartOrder> {
    this.calls.push('in');
    await this.#wait(this.#takes.inMs ?? 0, signal);
    if (this.#takes.fault) throw this.#takes.fault;
    return { ...order, workdir: '/staged' };
  }

  workspaceOf(): string {
    return '/staged';
  }

  async stageOut(_order: StartOrder, signal: AbortSignal): Promise<StagedOut> {
    this.calls.push('out');
    await this.#wait(this.#takes.outMs ?? 0, signal);
    return this.#takes.out ?? STAGED;
  }

  async close(): Promise<void> {}

  async recover(ids: readonly string[]): Promise<void> {
    this.calls.push(`recover ${ids.join()}`);
  }

  async remove(allocationId: string): Promise<void> {
    this.calls.push(`remove ${allocationId}`);
  }

  #wait(delayMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancel = this.#rig.clock.after(delayMs, resolve);
      signal.addEventListener('abort', () => {
        cancel();
        reject(signal.reason as Error);
      });
    });
  }
}

async function stagingRig(takes: ConstructorParameters<typeof SlowStaging>[1]) {
  const rig = new Rig();
  const staging = new SlowStaging(rig, takes);
  rig.staging = staging;
  rig.boot();
  await rig.pass(50);
  return { rig, staging };
}

const staged = (env: Record<string, string>, parts: Partial<StartOrder> = {}) =>
  fakeOrder(id, env, { outputs: [{ path: 'x' }], ...parts });

t.test('an attempt prepares while files come in, and ends when they have gone out', async (t) => {
  const { rig, staging } = await stagingRig({ inMs: 1_000, outMs: 2_000 });
  rig.coordinator.start(staged({ SIM_RUN_MS: '500' }));
  await rig.pass(600);
  t.strictSame([rig.coordinator.phases(id), rig.machine.startCounts.get(id)], [['preparing'], undefined]);
  await rig.pass(1_500);
  t.strictSame(rig.coordinator.phases(id), ['preparing', 'running'], 'its command is over and its end is not said');
  await rig.pass(2_000);
  const ended = rig.coordinator.reports.at(-1);
  t.match(ended, { phase: 'ended', end: { end: { kind: 'exited', exitCode: 0 }, staging: STAGED.record } });
  t.match(ended?.end?.usage, { stagedInMs: 1_000, stagedOutMs: 2_000 });
  t.strictSame(staging.calls, ['recover ', 'in', 'out', `remove ${id}`]);
});

t.test('heartbeats tell of an attempt whose files come in, every second while they do', async (t) => {
  const { rig } = await stagingRig({ inMs: 8_000 });
  const { heartbeats } = rig.coordinator;
  rig.coordinator.start(staged({ SIM_RUN_MS: '60000' }));
  await rig.pass(9_000);
  const told = heartbeats.filter(({ preparing }) => preparing !== undefined);
  t.strictSame(told[0]?.preparing, [{ allocationId: id, preparation: { kind: 'staging' } }]);
  t.equal(told.length, 4, 'once a second, from the first regular one on');
  t.equal(heartbeats.at(-1)?.preparing, undefined);
  const count = heartbeats.length;
  await rig.pass(20_000);
  t.equal(heartbeats.length, count + 4, 'every five seconds afterwards');
});

t.test('an agent that dies at any moment stages again, starts once and reports one end', async (t) => {
  for (let diesAtMs = 0; diesAtMs <= 100; diesAtMs += 5) {
    const { rig } = await stagingRig({ inMs: 30, outMs: 30 });
    rig.coordinator.start(staged({ SIM_RUN_MS: '20' }));
    await rig.pass(diesAtMs);
    rig.crash();
    await rig.pass(20);
    rig.boot();
    await rig.pass(3_000);
    t.match(rig.coordinator.ends.get(id), { kind: 'exited', exitCode: 0 }, `dies after ${diesAtMs} ms`);
    t.equal(rig.machine.startCounts.get(id), 1);
  }
});

t.test('an input that cannot be had is no failure of the command', async (t) => {
  const { rig } = await stagingRig({ fault: REFUSED });
  rig.coordinator.start(staged({}));
  await rig.pass(500);
  t.strictSame(rig.coordinator.ends.get(id), { kind: 'start-failed', message: 'inputs[0]: no such file' });
  t.equal(rig.machine.startCounts.get(id), undefined);
});

t.test("a volume's server that does not answer is the node's trouble, so the attempt may go to another", async (t) => {
  const { rig } = await stagingRig({ fault: new AppError('unreachable', 'volume "scans": nas:/x cannot be mounted') });
  rig.coordinator.start(staged({}));
  await rig.pass(500);
  t.match(rig.coordinator.ends.get(id), { kind: 'rejected', message: /"scans": nas:\/x cannot be mounted/ });
});

t.test('a cancel cuts staging off, in either direction', async (t) => {
  const coming = await stagingRig({ inMs: 60_000 });
  coming.rig.coordinator.start(staged({}));
  await coming.rig.pass(500);
  coming.rig.coordinator.stop(id);
  await coming.rig.pass(500);
  t.strictSame(coming.rig.coordinator.ends.get(id), { kind: 'stopped', reason: 'canceled', ranMs: 0 });
  t.equal(coming.rig.machine.startCounts.get(id), undefined);

  const going = await stagingRig({ outMs: 60_000 });
  going.rig.coordinator.start(staged({ SIM_RUN_MS: '100', SIM_EXIT: '4' }));
  await going.rig.pass(500);
  going.rig.coordinator.stop(id);
  await going.rig.pass(500);
  const end = { kind: 'stopped', reason: 'canceled', exitCode: 4, ranMs: 100 };
  t.strictSame(going.rig.coordinator.ends.get(id), end);
});

t.test('a time limit holds while files come in, from the start of the command on, and while they go out', async (t) => {
  const coming = await stagingRig({ inMs: 60_000 });
  coming.rig.coordinator.start(staged({}, { timeLimitMs: 1_000 }));
  await coming.rig.pass(2_000);
  t.match(coming.rig.coordinator.ends.get(id), { kind: 'stopped', reason: 'time-limit' });

  const slow = await stagingRig({ inMs: 900 });
  slow.rig.coordinator.start(staged({ SIM_RUN_MS: '900' }, { timeLimitMs: 1_000 }));
  await slow.rig.pass(3_000);
  t.match(slow.rig.coordinator.ends.get(id), { kind: 'exited' }, 'the time of staging in is not the command’s');

  const going = await stagingRig({ outMs: 60_000 });
  going.rig.coordinator.start(staged({ SIM_RUN_MS: '500' }, { timeLimitMs: 1_000 }));
  await going.rig.pass(2_000);
  t.match(going.rig.coordinator.ends.get(id), { kind: 'stopped', reason: 'time-limit', exitCode: 0 });
});

t.test('what a command has left at its time limit is kept, and a canceled one leaves nothing', async (t) => {
  const limited = await stagingRig({ outMs: 100 });
  limited.rig.coordinator.start(staged({ SIM_RUN_MS: '60000' }, { timeLimitMs: 500 }));
  await limited.rig.pass(2_000);
  t.match(limited.rig.coordinator.reports.at(-1)?.end, { end: { reason: 'time-limit' }, staging: STAGED.record });
  const canceled = await stagingRig({ outMs: 100 });
  canceled.rig.coordinator.start(staged({ SIM_RUN_MS: '60000' }));
  await canceled.rig.pass(500);
  canceled.rig.coordinator.stop(id);
  await canceled.rig.pass(1_000);
  t.notOk(canceled.staging.calls.includes('out'));
});

t.test('outputs that failed fail a command that succeeded, and only that', async (t) => {
  const out: StagedOut = {
    record: { inputs: [], outputs: [], note: 'it did not leave "x"' },
    failure: 'it did not leave "x"',
  };
  const ends = { 0: { kind: 'outputs-failed', message: 'it did not leave "x"' }, 3: { kind: 'exited', exitCode: 3 } };
  for (const [exit, end] of Object.entries(ends)) {
    const { rig } = await stagingRig({ out });
    rig.coordinator.start(staged({ SIM_EXIT: exit }));
    await rig.pass(500);
    t.match(rig.coordinator.reports.at(-1)?.end, { end, staging: { note: 'it did not leave "x"' } });
  }
});

t.test('a node that stages nothing rejects what needs it', async (t) => {
  const rig = new Rig();
  rig.boot();
  await rig.pass(50);
  rig.coordinator.start(staged({}));
  await rig.pass(200);
  t.match(rig.coordinator.ends.get(id), { kind: 'rejected', message: 'this node stages no files' });
});
