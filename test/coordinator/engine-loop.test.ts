import t from 'tap';
import { Engine } from '../../coordinator/engine/engine.js';
import type { Effect } from '../../coordinator/engine/inputs.js';
import type { LoggedEvent } from '../../coordinator/model/events.js';
import { serialize } from '../../coordinator/model/snapshot.js';
import { DEFAULT_PLAN_POLICY } from '../../coordinator/scheduler/plan.js';
import { ImmediatePricing } from '../../coordinator/scheduler/worth/pricing.js';
import { type AppendFault, MemoryStore } from '../../coordinator/store/memory.js';
import { isAppError } from '../../shared/errors.js';
import type { JobId } from '../../shared/ids.js';
import { NO_LIMITS } from '../../shared/limits.js';
import { silentLog } from '../../shared/log.js';
import { aHello, aJob, oneStep } from '../kit/builders.js';
import { ManualClock } from '../kit/manual-clock.js';
import { LEASE_MS } from '../kit/scenario.js';

interface Running {
  readonly engine: Engine;
  readonly effects: Effect[];
  readonly failures: unknown[];
  readonly batches: (readonly LoggedEvent[])[];
}

async function start(store: MemoryStore, clock: ManualClock): Promise<Running> {
  const effects: Effect[] = [];
  const failures: unknown[] = [];
  const batches: (readonly LoggedEvent[])[] = [];
  const opening = Engine.open({
    store,
    clock,
    log: silentLog,
    rules: { nodeLeaseMs: LEASE_MS, limits: NO_LIMITS },
    planning: DEFAULT_PLAN_POLICY,
    pricing: new ImmediatePricing(),
    perform: (made) => effects.push(...made),
    onFailure: (error) => failures.push(error),
  });
  await clock.settle();
  const engine = await opening;
  engine.onCommitted((events) => batches.push(events));
  return { engine, effects, failures, batches };
}

const submission = { type: 'submitJob', spec: aJob(), by: 'tester' } as const;

t.test('inputs that arrive together are one append, and nobody hears of them before it', async (t) => {
  const clock = new ManualClock();
  const store = new MemoryStore({ durable: 'on-flush' });
  const { engine, effects, batches } = await start(store, clock);
  const replies: unknown[] = [];
  for (let count = 0; count < 3; count += 1) void engine.handle(submission).then((reply) => replies.push(reply));
  void engine.handle({ type: 'agentJoined', hello: aHello('n1') });
  let seen: number | undefined;
  await clock.settle();
  void engine.read((view) => view.jobs.size).then((count) => (seen = count));
  await clock.settle();
  t.equal(engine.view.jobs.size, 3, 'memory runs ahead of the disk');
  t.strictSame([replies, effects, batches, seen], [[], [], [], undefined], 'the world does not');
  store.flush();
  await clock.settle();
  t.strictSame([replies.length, batches.length, seen], [3, 1, 3]);
  t.strictSame(
    effects.map((effect) => effect.kind),
    ['sync', 'start', 'start', 'start'],
  );
});

t.test('a coordinator that dies at any append has kept what it acknowledged, and replay equals live', async (t) => {
  const faults: AppendFault[] = ['fail', 'lose-ack', 'hang'];
  for (const fault of faults) {
    for (let appendNumber = 2; appendNumber <= 4; appendNumber += 1) {
      const clock = new ManualClock();
      const store = new MemoryStore({ faults: new Map([[appendNumber, fault]]) });
      const first = await start(store, clock);
      await submitUntilFailure(first.engine, clock, store);
      store.crash();
      const second = await start(store, clock);
      t.not(acknowledged.size, 0);
      for (const jobId of acknowledged) {
        t.ok(second.engine.view.jobs.has(jobId), `${jobId} was acknowledged, ${fault} at append ${appendNumber}`);
      }
      const live = serialize(second.engine.view);
      store.crash();
      const third = await start(store, clock);
      t.equal(serialize(third.engine.view), live);
      acknowledged.clear();
    }
  }
});

const acknowledged = new Set<JobId>();

async function submitUntilFailure(engine: Engine, clock: ManualClock, store: MemoryStore): Promise<void> {
  for (let count = 0; count < 6; count += 1) {
    void engine.handle(submission).then(
      (reply) => 'kind' in reply && reply.kind === 'job' && acknowledged.add(reply.jobId),
      () => {},
    );
    await clock.settle();
    store.flush();
  }
}

t.test('a store that fails stops the engine: what is asked then is refused with the cause', async (t) => {
  const clock = new ManualClock();
  const { engine, failures } = await start(new MemoryStore({ faults: new Map([[1, 'fail']]) }), clock);
  const asked = engine.handle(submission);
  const refused = t.rejects(asked, { code: 'store-unavailable' });
  await clock.settle();
  await refused;
  t.equal(failures.length, 1);
  t.ok(isAppError(failures[0], 'store-unavailable'));
  await t.rejects(engine.handle(submission), { code: 'store-unavailable' });
  await t.rejects(
    engine.read((view) => view.lastSeq),
    { code: 'store-unavailable' },
  );
});

t.test('a snapshot and its tail give the same state, and old events are still in the history', async (t) => {
  const clock = new ManualClock();
  const store = new MemoryStore();
  const first = await start(store, clock);
  void first.engine.handle({ type: 'agentJoined', hello: aHello('n1') });
  void first.engine.handle({ ...submission, spec: oneStep({ array: '0-9' }) });
  await clock.settle();
  const live = serialize(first.engine.view);
  const closing = first.engine.close();
  await clock.settle();
  await closing;
  const second = await start(store, clock);
  t.match(JSON.parse(serialize(second.engine.view)).jobs, JSON.parse(live).jobs);
  const history = await second.engine.history(0, 3);
  t.strictSame(
    history?.map((logged) => logged.seq),
    [1, 2, 3],
  );
});

t.test('deadlines wake the engine by themselves', async (t) => {
  const clock = new ManualClock();
  const { engine, effects } = await start(new MemoryStore(), clock);
  void engine.handle({ type: 'agentJoined', hello: aHello('n1') });
  const retry = { maxAttempts: 2, backoffMs: 5_000, on: ['exited'] } as const;
  void engine.handle({ ...submission, spec: oneStep({ retry }) });
  await clock.settle();
  const end = { end: { kind: 'exited', exitCode: 1, ranMs: 1 }, stdoutBytes: 0, stderrBytes: 0 } as const;
  const report = { allocationId: 'j1.0#1' as never, phase: 'ended', end, ageMs: 0 } as const;
  void engine.handle({ type: 'agentReported', nodeId: 'n1' as never, report });
  await clock.advance(4_999);
  t.notOk(engine.view.allocations.has('j1.0#2' as never));
  await clock.advance(1);
  t.ok(engine.view.allocations.has('j1.0#2' as never));
  t.equal(effects.at(-1)?.kind, 'start');
});
