import fc from 'fast-check';
import t from 'tap';
import { Engine } from '../../coordinator/engine/engine.js';
import type { Job } from '../../coordinator/model/job.js';
import type { MemoryLimits } from '../../coordinator/model/memory-limits.js';
import { storedJob } from '../../coordinator/model/stored-job.js';
import { DEFAULT_PLAN_POLICY } from '../../coordinator/scheduler/plan.js';
import { ImmediatePricing } from '../../coordinator/scheduler/worth/pricing.js';
import { MemoryStore } from '../../coordinator/store/memory.js';
import { type AllocationId, allocationIdOf, type JobId, taskIdOf } from '../../shared/ids.js';
import { NO_LIMITS } from '../../shared/limits.js';
import { silentLog } from '../../shared/log.js';
import { seededRandom } from '../../shared/random.js';
import { parseRanges, type RangeSet, withIndexes } from '../../shared/ranges.js';
import { aHello, anInventory, aStep, oneStep } from '../kit/builders.js';
import { ManualClock } from '../kit/manual-clock.js';
import { Scenario } from '../kit/scenario.js';
import { randomJob } from '../sim/workload.js';

const WITHOUT_LIMIT = { doneTasks: Number.POSITIVE_INFINITY, finishedJobs: Number.POSITIVE_INFINITY };

t.test('ranges take up indexes like the set of both', (t) => {
  const indexes = fc.uniqueArray(fc.nat({ max: 30 }));
  fc.assert(
    fc.property(indexes, indexes, (some, more) => {
      const before = some.length === 0 ? [] : (parseRanges(some.join(','), 100) as RangeSet);
      const fresh = more.filter((index) => !some.includes(index)).sort((left, right) => left - right);
      const all = [...some, ...fresh].join(',');
      t.strictSame(withIndexes(before, fresh), all === '' ? [] : parseRanges(all, 100));
    }),
    { numRuns: 60, seed: 8 },
  );
  t.end();
});

t.test('the first to finish leave first, and only when something new begins or ends', (t) => {
  const cluster = new Scenario({ memory: { doneTasks: 2, finishedJobs: 9 } })
    .join('n1')
    .submit(oneStep({ array: '1-4' }));
  cluster.exits('j1.2#1').exits('j1.3#1', 1).exits('j1.1#1');
  t.strictSame(leftOf(cluster), [], 'what has just ended stays while others look at it');
  cluster.exits('j1.4#1');
  t.strictSame(leftOf(cluster), ['j1.2'], 'the fourth has ended, but is not over the limit before the next event');
  t.equal(cluster.job('j1')?.phase.kind, 'finished');
  cluster.submit(oneStep());
  t.strictSame(leftOf(cluster), ['j1.2', 'j1.3']);
  t.match(cluster.job('j1')?.steps.get('main'), {
    counts: { succeeded: 3, failed: 1 },
    left: { succeeded: [{ from: 2, to: 2 }], failed: [{ from: 3, to: 3 }], highestExitCode: 1 },
  });
  t.strictSame([...cluster.view.allocations.keys()], ['j1.1#1', 'j1.4#1', 'j2.0#1']);
  t.end();
});

t.test('a finished job leaves as a whole, after its tasks; a running one keeps what runs and waits', (t) => {
  const cluster = new Scenario({ memory: { doneTasks: 1, finishedJobs: 0 } })
    .join('n1')
    .submit(oneStep({ array: '0-1' }))
    .submit(oneStep({ array: '0-9' }));
  cluster.exits('j1.0#1').exits('j1.1#1').exits('j2.0#1').exits('j2.1#1').exits('j2.2#1');
  t.strictSame(leftOf(cluster), ['j1.0', 'j1.1', 'j1', 'j2.0']);
  t.equal(cluster.job('j1'), undefined);
  cluster.cancel('j2').submit(oneStep());
  t.match(cluster.job('j2')?.phase, { kind: 'canceling' });
  t.equal(cluster.cancel('j1').refusal(), 'not-found', 'the service knows the archive, a rule does not');
  t.end();
});

t.test('a task leaves with all its attempts, and a late word of any of them is answered with stop', (t) => {
  const cluster = new Scenario({ memory: { doneTasks: 0, finishedJobs: 0 } })
    .join('n1')
    .submit(oneStep({ retry: { maxAttempts: 2, backoffMs: 0, on: ['exited'] } }));
  cluster.exits('j1.0#1', 3).after(1).exits('j1.0#2').submit(oneStep());
  const [task] = cluster.departures;
  t.match(task, { kind: 'task', task: { task: { index: 0 }, allocations: [{ id: 'j1.0#1' }, { id: 'j1.0#2' }] } });
  cluster.reportsFrom('n1', 'j1.0#1', { phase: 'running' });
  t.match(cluster.effects, [{ kind: 'stop', nodeId: 'n1', allocationId: 'j1.0#1' }]);
  cluster.reportsFrom('n1', 'j1.0#2', { phase: 'ended', end: { kind: 'exited', exitCode: 0, ranMs: 1 } });
  t.strictSame([cluster.events, cluster.effects], [[], []], 'an end that is known already changes nothing');
  t.end();
});

t.test('what is dropped together leaves too, but not before the end of the task that caused it is through', (t) => {
  const steps = [aStep({ name: 'first', array: '0-1' }), aStep({ name: 'second', needs: ['first'], array: '0-4' })];
  const cluster = new Scenario({ memory: { doneTasks: 0, finishedJobs: 0 } }).join('n1');
  cluster
    .submit({ ...oneStep(), steps })
    .exits('j1.first.0#1', 7)
    .exits('j1.first.1#1');
  t.match(cluster.job('j1')?.phase, { kind: 'finished', outcome: 'failed' });
  cluster.submit(oneStep());
  t.strictSame(leftOf(cluster), ['j1.first.0', 'j1.first.1', 'j1']);
  const job = cluster.departures.at(-1);
  t.match(job?.kind === 'job' && job.job.steps.get('second'), {
    counts: { dropped: 5 },
    swept: { outcome: { kind: 'dropped' } },
  });
  t.end();
});

t.test('they leave in lots, and no event lets more leave than a lot may hold', (t) => {
  const cluster = new Scenario({ memory: { doneTasks: 32, finishedJobs: 99 }, isChecked: false });
  cluster.join('n1', { inventory: anInventory({ capacity: { cpuMillis: 99_000, memoryMiB: 99_000, diskMiB: 0 } }) });
  cluster.submit(oneStep({ array: '1-60' }));
  for (let index = 1; index <= 34; index += 1) cluster.exits(`j1.${index}#1`);
  t.equal(cluster.departures.length, 0, 'two over the limit are not yet a lot');
  cluster.exits('j1.35#1').exits('j1.36#1');
  t.equal(cluster.departures.length, 3);
  t.end();
});

/** What happened, by the numbers of a seed; the same whatever is in memory. */
function live(seed: number, memory: MemoryLimits): Scenario {
  const random = seededRandom(seed);
  const below = (count: number): number => Math.floor(random.next() * count);
  const cluster = new Scenario({ memory, isChecked: seed % 4 === 0 }).join('n1').join('n2');
  for (let number = 1; number <= 60; number += 1) {
    const live = [...cluster.view.nodes.keys()].flatMap((node) => [...cluster.view.index.usage(node).live]);
    const id = live[below(live.length)];
    const act = below(10);
    if (act < 2 || id === undefined) cluster.submit(randomJob(random, number));
    else if (act === 2) cluster.cancel(`j${1 + below(8)}`);
    else if (act === 3) cluster.after(3_000);
    else if (act === 4) cluster.reports(id, 'running');
    else cluster.exits(id, below(4) === 0 ? 1 : 0);
  }
  return cluster;
}

t.test('the limits change nothing that happens: memory and archive together are what memory alone would be', (t) => {
  for (let seed = 1; seed <= 24; seed += 1) {
    const whole = live(seed, WITHOUT_LIMIT);
    t.equal(whole.departures.length, 0);
    const jobs = wholeOf(whole);
    for (const memory of [
      { doneTasks: 0, finishedJobs: 0 },
      { doneTasks: 3, finishedJobs: 2 },
    ]) {
      const lean = live(seed, memory);
      t.strictSame(lean.log, whole.log, `seed ${seed}: the same events`);
      t.same(wholeOf(lean), jobs, `seed ${seed}: the same records`);
      t.ok(lean.view.finished.tasks.size < Math.max(30, whole.view.finished.tasks.size));
    }
  }
  t.end();
});

t.test('a record is archived once, wherever the process dies', async (t) => {
  for (const fault of ['fail', 'lose-ack', 'hang'] as const) {
    for (let append = 4; append <= 9; append += 1) {
      const store = new MemoryStore({ faults: new Map([[append, fault]]) });
      const clock = new ManualClock();
      let engine = await openEngine(store, clock);
      await isAnswered(clock, () => engine.handle({ type: 'agentJoined', hello: aHello('n1') }));
      for (let number = 1; number <= 5; number += 1) {
        const spec = oneStep({}, { name: `job-${number}` });
        const key = { value: `key-${number}`, digest: 'd' };
        await again(() => engine.handle({ type: 'submitJob', spec, by: 'tester', key }));
        await again(() => finishAll(engine));
      }
      const inMemory = [...engine.view.jobs.keys()];
      const archived = (await store.pastJobs({ below: 99, from: 0, limit: 99 })).jobs.map(({ id }) => id);
      t.strictSame([...inMemory, ...archived].sort(), ['j1', 'j2', 'j3', 'j4', 'j5'], `${fault} of append ${append}`);
      t.equal((await store.pastTasks('j1' as JobId, 'main', [0])).length, 1);

      async function again(act: () => Promise<unknown>): Promise<void> {
        if (await isAnswered(clock, act)) return;
        store.crash();
        engine = await openEngine(store, clock);
        t.ok(await isAnswered(clock, act));
      }
    }
  }
});

/** False when it failed, and when there is no answer at all. */
async function isAnswered(clock: ManualClock, act: () => Promise<unknown>): Promise<boolean> {
  let isDone = false;
  act().then(
    () => {
      isDone = true;
    },
    () => {},
  );
  await clock.settle();
  return isDone;
}

async function openEngine(store: MemoryStore, clock: ManualClock): Promise<Engine> {
  const opening = Engine.open({
    ...{ store, clock, log: silentLog, planning: DEFAULT_PLAN_POLICY, pricing: new ImmediatePricing() },
    memory: { doneTasks: 0, finishedJobs: 1 },
    rules: { nodeLeaseMs: 60_000, limits: NO_LIMITS },
    perform: () => {},
    onFailure: () => {},
  });
  await clock.settle();
  return opening;
}

async function finishAll(engine: Engine): Promise<string> {
  for (const [nodeId] of engine.view.nodes) {
    for (const allocationId of engine.view.index.usage(nodeId).live) {
      const end = { end: { kind: 'exited', exitCode: 0, ranMs: 1 }, stdoutBytes: 0, stderrBytes: 0 } as const;
      await engine.handle({ type: 'agentReported', nodeId, report: { allocationId, phase: 'ended', ageMs: 0, end } });
    }
  }
  return 'done';
}

function leftOf({ departures }: Scenario): string[] {
  return departures.map((departure) =>
    departure.kind === 'job' ? departure.job.id : taskIdOf({ ...departure.task, index: departure.task.task.index }),
  );
}

/** Every job with all of its tasks and attempts, wherever they are. */
function wholeOf({ view, departures }: Scenario): unknown[] {
  const jobs = new Map<JobId, Job>(view.jobs);
  const tasks = new Map<string, unknown>();
  const attempts = new Map<AllocationId, unknown>(view.allocations);
  for (const departure of departures) {
    if (departure.kind === 'job') {
      jobs.set(departure.job.id, departure.job);
      continue;
    }
    const { jobId, step, task, allocations } = departure.task;
    tasks.set(taskIdOf({ jobId, step, index: task.index }), task);
    for (const allocation of allocations) attempts.set(allocation.id, allocation);
  }
  return [...jobs.values()]
    .sort((left, right) => left.sequence - right.sequence)
    .map((job) => {
      for (const step of job.steps.values()) {
        for (const task of step.tasks.values())
          tasks.set(taskIdOf({ jobId: job.id, step: step.name, index: task.index }), task);
      }
      const { steps, ...rest } = storedJob(job);
      return {
        ...rest,
        steps: steps.map(({ tasks: _, left: __, ...step }) => step),
        ...recordsOf(job, tasks, attempts),
      };
    });
}

function recordsOf(
  job: Job,
  tasks: ReadonlyMap<string, unknown>,
  attempts: ReadonlyMap<AllocationId, unknown>,
): object {
  const found: Record<string, unknown> = {};
  for (const step of job.steps.values()) {
    for (let index = 0; index <= 9; index += 1) {
      const ref = { jobId: job.id, step: step.name, index };
      found[taskIdOf(ref)] = tasks.get(taskIdOf(ref));
      for (let attempt = 1; attempt <= 9; attempt += 1) {
        const id = allocationIdOf({ ...ref, attempt });
        if (attempts.has(id)) found[id] = attempts.get(id);
      }
    }
  }
  return found;
}
