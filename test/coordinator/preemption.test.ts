import fc from 'fast-check';
import t from 'tap';
import { cheapestVictims, compareCosts, type VictimCost } from '../../coordinator/scheduler/cheapest-victims.js';
import { explainStep } from '../../coordinator/scheduler/explain.js';
import { give, hasRoom, type Room, roomOf } from '../../coordinator/scheduler/room.js';
import { MAX_PREEMPTIONS, MIN_RUN_MS, type Victim, victimsOn } from '../../coordinator/scheduler/victims.js';
import { SPEC_DEFAULTS } from '../../shared/job-spec/spec.js';
import { type Limits, NO_LIMITS, preemptedUpTo } from '../../shared/limits.js';
import { anInventory, gpus, oneStep } from '../kit/builders.js';
import { Scenario } from '../kit/scenario.js';

const HIGH = 100;
const limits: Limits = { ...NO_LIMITS, preemption: [{ from: HIGH, upTo: 0 }] };

const cpus = (count: number) => ({ resources: { cpuMillis: count * 1_000 } });

const stopped = (cluster: Scenario): string[] =>
  cluster.all('allocation.stopRequested').map((event) => event.allocationId);

const placed = (cluster: Scenario): string[] => cluster.all('allocation.committed').map((event) => event.allocationId);

/** Everything that is being stopped is gone. */
function gone(cluster: Scenario): Scenario {
  for (const { id, phase } of [...cluster.view.allocations.values()]) {
    if (phase.kind === 'stopping') cluster.reports(id, 'ended', { kind: 'stopped', reason: phase.reason, ranMs: 1 });
  }
  return cluster;
}

t.test('a task of a class that may stop others has the cheapest stopped, once, and gets their place', (t) => {
  const cluster = new Scenario({ limits }).join('a').submit(oneStep({ array: '0-3' }, { priority: -5 }));
  cluster.after(MIN_RUN_MS).submit(oneStep(cpus(2), { priority: HIGH }));
  t.strictSame(stopped(cluster), ['j1.0#1', 'j1.1#1']);
  t.strictSame(cluster.all('allocation.stopRequested')[0]?.for, 'j2');
  t.match(why(cluster, 'j2'), { code: 'preempting', message: /^waits for j1.0#1, j1.1#1, of lower priority, to stop/ });
  t.strictSame(stopped(cluster.submit(oneStep(cpus(1), { priority: 50 }))), [], 'nothing more, whatever comes');
  cluster.reports('j1.0#1', 'ended', { kind: 'stopped', reason: 'preempted', ranMs: 9 });
  t.strictSame(placed(cluster), [], 'what is free already is kept for it');
  t.match(cluster.all('task.requeued'), [{ attempt: 2, spentAttempts: 0 }], 'no attempt is spent');
  cluster.reports('j1.1#1', 'ended', { kind: 'stopped', reason: 'preempted', ranMs: 9 });
  t.strictSame(placed(cluster), ['j2.0#1']);
  t.end();
});

function why(cluster: Scenario, jobId: string) {
  const job = cluster.job(jobId);
  const step = job?.steps.get('main');
  return job && step && explainStep(cluster.view, { job, step }, { limits, now: cluster.clock.now() });
}

t.test('nobody is stopped by an equal, for a class that may not, too early, or for good', (t) => {
  const once = { retry: { ...SPEC_DEFAULTS.retry, maxAttempts: 1 } };
  const cluster = new Scenario({ limits }).join('a');
  cluster.submit(oneStep({ ...cpus(2), ...once })).submit(oneStep({ array: '0-1' }));
  t.strictSame(stopped(cluster.submit(oneStep(cpus(1), { priority: HIGH - 1 }))), []);
  t.strictSame(stopped(cluster.submit(oneStep(cpus(1), { priority: HIGH }))), [], 'it has just begun');
  t.strictSame(stopped(cluster.after(MIN_RUN_MS - 1)), []);
  t.strictSame(stopped(cluster.after(1)), ['j2.0#1'], 'though nothing else happened');
  gone(cluster);
  t.strictSame(stopped(cluster.submit(oneStep(cpus(3), { priority: HIGH }))), [], 'j1 may not start twice');
  t.equal(preemptedUpTo({ ...NO_LIMITS, preemption: [{ from: 0, upTo: 50 }] }, 10), 9);
  t.equal(preemptedUpTo(NO_LIMITS, 1_000), undefined);
  t.end();
});

t.test('a quota that lets the task not start has nobody stopped', (t) => {
  const quota = { ...limits, users: new Map([['tester', { taskCount: 2 }]]) };
  const cluster = new Scenario({ limits: quota }).join('a').submit(oneStep({ ...cpus(2), array: '0-1' }));
  t.strictSame(stopped(cluster.after(MIN_RUN_MS).submit(oneStep(cpus(1), { priority: HIGH }))), []);
  t.end();
});

t.test('a gang is stopped whole, and has as many stopped as all its ranks need, or none', (t) => {
  const cluster = new Scenario({ limits }).join('a').join('b');
  cluster.submit(oneStep({ array: '0-5', gang: true })).submit(oneStep({ array: '0-1', ...cpus(1) }));
  cluster.after(MIN_RUN_MS).submit(oneStep(cpus(1), { priority: HIGH }));
  t.strictSame(stopped(cluster), ['j2.0#1'], 'one task is cheaper than a gang');
  gone(cluster).submit(oneStep({ array: '0-6', gang: true }, { priority: HIGH }));
  t.strictSame(stopped(cluster).length, 7, 'the gang and the last of the others');
  t.strictSame(placed(gone(cluster)).filter((id) => id.startsWith('j4')).length, 7);
  cluster.submit(oneStep({ array: '0-7', gang: true }, { priority: HIGH + 1 }));
  t.strictSame(stopped(cluster.after(MIN_RUN_MS)), [], 'those of high priority may not be stopped, so nobody is');
  t.end();
});

t.test('a gang for which there is not enough leaves everybody to who comes after it', (t) => {
  const cluster = new Scenario({ limits })
    .join('a')
    .join('b')
    .submit(oneStep({ array: '0-1', ...cpus(4) }));
  const later = { allowFutureNodes: true };
  cluster.after(MIN_RUN_MS).submit(oneStep({ array: '0-2', ...cpus(4), gang: true }, { priority: HIGH + 1, ...later }));
  t.strictSame(stopped(cluster), [], 'two nodes hold no three');
  t.strictSame(stopped(cluster.submit(oneStep(cpus(4), { priority: HIGH }))), ['j1.0#1']);
  t.end();
});

t.test('a task is sent back a limited number of times', (t) => {
  const cluster = new Scenario({ limits }).join('a').submit(oneStep(cpus(4)));
  for (let round = 1; round <= MAX_PREEMPTIONS; round += 1) {
    cluster.after(MIN_RUN_MS).submit(oneStep(cpus(4), { priority: HIGH }));
    t.strictSame(stopped(cluster), [`j1.0#${round}`]);
    gone(cluster).exits(`j${round + 1}.0#1`);
  }
  cluster.after(MIN_RUN_MS).submit(oneStep(cpus(4), { priority: HIGH }));
  t.strictSame(stopped(cluster), []);
  t.end();
});

const anAmount = fc.record({
  cpus: fc.integer({ min: 1, max: 5 }),
  gpus: fc.integer({ min: 0, max: 2 }),
  priority: fc.integer({ min: -2, max: 0 }),
});

const asked = (amount: { readonly cpus: number; readonly gpus: number }) => ({
  resources: {
    cpuMillis: amount.cpus * 1_000,
    gpus: amount.gpus === 0 ? null : { count: amount.gpus, model: null, minMemoryMiB: null },
  },
});

t.test('the victims are the cheapest that trying every set finds', (t) => {
  const inventory = anInventory({ capacity: { cpuMillis: 16_000, memoryMiB: 65_536, diskMiB: 0 }, gpus: gpus(4) });
  let foundCount = 0;
  fc.assert(
    fc.property(
      fc.array(anAmount, { minLength: 1, maxLength: 9 }),
      anAmount,
      fc.nat({ max: 9 }),
      (running, head, gap) => {
        const cluster = new Scenario({ isChecked: false }).join('a', { inventory });
        for (const each of running) {
          cluster.submit(oneStep(asked(each), { priority: each.priority })).after(1_000 * (1 + (gap % 4)));
        }
        cluster.after(MIN_RUN_MS).submit(oneStep(asked({ cpus: 4 * head.cpus, gpus: 2 * head.gpus }), { hold: true }));
        const demand = [...(cluster.job(`j${running.length + 1}`)?.steps.values() ?? [])][0]?.demand;
        const node = cluster.node('a');
        if (!demand || !node) return;
        const search = { now: cluster.clock.now(), maxPriority: 0, isChosen: () => false, onTooYoung: () => {} };
        const victims = victimsOn(cluster.view, node.id, search);
        const expected = cheapestOfAll(roomOf(cluster.view, node), demand, victims);
        const found = cheapestVictims(roomOf(cluster.view, node), demand, victims);
        if ((found === undefined) !== (expected === undefined)) throw new Error(`${found} instead of ${expected}`);
        if (!found || !expected) return;
        foundCount += found.victims.length > 0 ? 1 : 0;
        if (compareCosts(found.cost, expected) !== 0)
          throw new Error(`${JSON.stringify(found.cost)} instead of ${JSON.stringify(expected)}`);
      },
    ),
    { numRuns: 300, seed: 31 },
  );
  t.ok(foundCount > 50, `${foundCount} with victims`);
  t.end();
});

/** The oracle: every subset. */
function cheapestOfAll(room: Room, demand: Parameters<typeof hasRoom>[1], victims: readonly Victim[]) {
  let best: VictimCost | undefined;
  for (let set = 0; set < 2 ** victims.length; set += 1) {
    const chosen = victims.filter((_, position) => (set >> position) % 2 === 1);
    const left: Room = { ...room, gpuMillis: [...room.gpuMillis] };
    for (const { shares } of chosen) for (const share of shares) give(left, share);
    if (!hasRoom(left, demand)) continue;
    const cost: VictimCost = {
      priority: Math.max(Number.NEGATIVE_INFINITY, ...chosen.map(({ priority }) => priority)),
      taskCount: chosen.length,
      lostMs: chosen.reduce((sum, { lostMs }) => sum + lostMs, 0),
    };
    if (!best || compareCosts(cost, best) < 0) best = cost;
  }
  return best;
}

t.test(
  'whatever comes, every task finishes, is preempted a limited number of times, and nothing is stopped in vain',
  (t) => {
    const job = fc.record({
      size: fc.integer({ min: 1, max: 3 }),
      cpus: fc.integer({ min: 1, max: 4 }),
      priority: fc.constantFrom(-10, 0, 50, HIGH, HIGH + 50),
      isGang: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(job, { minLength: 2, maxLength: 9 }), fc.integer({ min: 1, max: 7 }), (jobs, stride) => {
        const cluster = new Scenario({ limits }).join('a').join('b').join('c');
        for (const { size, cpus: count, priority, isGang } of jobs) {
          cluster.submit(
            oneStep({ ...cpus(count), array: `0-${size - 1}`, ...(isGang ? { gang: true } : {}) }, { priority }),
          );
          cluster.after(MIN_RUN_MS / 2);
          checkHigher(cluster);
        }
        for (let turn = 0; turn < 400; turn += 1) {
          gone(cluster);
          const live = [...cluster.view.allocations.values()].filter(({ phase }) => phase.kind !== 'ended');
          const next = live[(turn * stride) % Math.max(1, live.length)];
          if (!next) break;
          cluster.exits(next.id).after(MIN_RUN_MS);
          checkHigher(cluster);
        }
        for (const { id, phase, steps } of cluster.view.jobs.values()) {
          if (phase.kind !== 'finished') throw new Error(`${id} is ${phase.kind}`);
          for (const { tasks } of steps.values())
            for (const task of tasks.values())
              if (task.phase.kind === 'done' && task.phase.attempt > 1 + MAX_PREEMPTIONS)
                throw new Error(`${id} went round`);
        }
      }),
      { numRuns: 120, seed: 41 },
    );
    t.pass('120 random queues');
    t.end();
  },
);

/** Whoever is stopped is of lower priority than the job that it makes room for. */
function checkHigher(cluster: Scenario): void {
  for (const { phase, ref } of cluster.view.allocations.values()) {
    if (phase.kind !== 'stopping' || phase.for === undefined) continue;
    const victim = cluster.job(ref.jobId)?.spec.priority ?? 0;
    if (victim >= (cluster.job(phase.for)?.spec.priority ?? 0))
      throw new Error(`${ref.jobId} is stopped for ${phase.for}`);
  }
}
