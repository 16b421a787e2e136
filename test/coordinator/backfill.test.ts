import fc from 'fast-check';
import t from 'tap';
import { ClassTable, type DemandClass } from '../../coordinator/model/demand.js';
import { afterBackfill, mayBackfill, reserve } from '../../coordinator/scheduler/backfill.js';
import { explainStep } from '../../coordinator/scheduler/explain.js';
import { holdMsOf } from '../../coordinator/scheduler/outlook.js';
import type { NodeId } from '../../shared/ids.js';
import { NO_LIMITS } from '../../shared/limits.js';
import { addResources, fits, type Resources, subtractResources } from '../../shared/resources.js';
import { anInventory, aStep, gpus, oneStep } from '../kit/builders.js';
import { Scenario } from '../kit/scenario.js';

const MINUTE_MS = 60_000;
const stop = { signal: 'SIGTERM', graceMs: 0 };

const classes = new ClassTable();
function demandOf(cpuMillis: number, memoryMiB: number, gpuCount = 0): DemandClass {
  const wanted = gpuCount === 0 ? null : { count: gpuCount, model: null, minMemoryMiB: null };
  return classes.demandOf(aStep({ resources: { cpuMillis, memoryMiB, gpus: wanted } }));
}

const size = fc.record({
  cpus: fc.integer({ min: 1, max: 4 }),
  gibibytes: fc.integer({ min: 1, max: 8 }),
  minutes: fc.option(fc.integer({ min: 1, max: 6 }), { freq: 4 }),
});
type Size = typeof size extends fc.Arbitrary<infer Value> ? Value : never;

const limitOf = ({ minutes }: Size): number | null => (minutes === null ? null : minutes * MINUTE_MS);

/** Two nodes on which some tasks run, each with its time limit. */
function busyCluster(running: readonly Size[]): Scenario {
  const cluster = new Scenario({ isChecked: false }).join('a').join('b');
  for (const each of running) {
    const resources = { cpuMillis: each.cpus * 1_000, memoryMiB: each.gibibytes * 1_024 };
    cluster.submit(oneStep({ resources, timeLimitMs: limitOf(each), stop }));
    for (const { allocationId } of cluster.all('allocation.committed')) cluster.reports(allocationId, 'running');
  }
  return cluster;
}

interface Held {
  readonly nodeId: string;
  readonly resources: Resources;
  readonly until: number;
}

function heldOf(cluster: Scenario): Held[] {
  return [...cluster.view.allocations.values()].map(({ nodeId, resources, ref, startedAt = 0 }) => {
    const limitMs = cluster.job(ref.jobId)?.steps.get('main')?.spec.timeLimitMs;
    return { nodeId, resources, until: limitMs == null ? Number.POSITIVE_INFINITY : startedAt + limitMs };
  });
}

function why(cluster: Scenario, jobId: string) {
  const job = cluster.job(jobId);
  const step = job?.steps.get('main');
  return job && step && explainStep(cluster.view, { job, step }, { limits: NO_LIMITS, now: cluster.clock.now() });
}

/** The oracle: tries every node at every moment at which anything ends. */
function earliest(held: readonly Held[], need: Resources, now: number): number | undefined {
  const { capacity } = anInventory();
  const moments = [now, ...held.map(({ until }) => until).filter((at) => at > now && at !== Number.POSITIVE_INFINITY)];
  for (const at of moments.sort((left, right) => left - right)) {
    for (const nodeId of ['a', 'b']) {
      const live = held.filter((each) => each.nodeId === nodeId && each.until > at);
      const free = live.reduce((left, { resources }) => subtractResources(left, resources), capacity);
      if (fits(need, free)) return at;
    }
  }
  return undefined;
}

t.test('a reservation is the earliest moment that trying everything finds', (t) => {
  fc.assert(
    fc.property(fc.array(size, { maxLength: 7 }), size, (running, head) => {
      const cluster = busyCluster(running);
      const now = cluster.clock.now();
      const demand = demandOf(head.cpus * 1_000, head.gibibytes * 1_024);
      const expected = earliest(heldOf(cluster), demand.resources, now);
      const found = reserve(cluster.view, { demand, holdMs: MINUTE_MS }, { now })?.startAt ?? undefined;
      if (found !== expected) throw new Error(`reserved for ${found}, could start at ${expected}`);
    }),
    { numRuns: 300, seed: 17 },
  );
  t.pass('300 random clusters');
  t.end();
});

t.test('what may be backfilled delays no reservation, and what may not would, on its node', (t) => {
  fc.assert(
    fc.property(
      fc.array(size, { minLength: 2, maxLength: 7 }),
      size,
      fc.array(size, { maxLength: 4 }),
      (running, head, small) => {
        const cluster = busyCluster(running);
        const now = cluster.clock.now();
        const need = demandOf(head.cpus * 1_000, head.gibibytes * 1_024);
        let reservation = reserve(cluster.view, { demand: need, holdMs: MINUTE_MS }, { now });
        if (!reservation || reservation.startAt === null || reservation.startAt === now) return;
        const { startAt } = reservation;
        const reserved = [...reservation.places.keys()][0] as NodeId;
        const held = heldOf(cluster);
        const { capacity } = anInventory();
        for (const each of small) {
          const demand = demandOf(each.cpus * 1_000, each.gibibytes * 1_024);
          const holdMs = holdMsOf({ timeLimitMs: limitOf(each), stop });
          for (const nodeId of ['a', 'b'] as NodeId[]) {
            const used = held.filter((one) => one.nodeId === nodeId).map(({ resources }) => resources);
            const free = subtractResources(
              capacity,
              used.reduce(addResources, { cpuMillis: 0, memoryMiB: 0, diskMiB: 0 }),
            );
            if (!fits(demand.resources, free)) continue;
            const added = { nodeId, resources: demand.resources, until: now + holdMs };
            const onNode = earliestOn([...held, added], { nodeId: reserved, need: need.resources, now });
            const isHarmless = onNode !== undefined && onNode <= startAt;
            const candidate = { claim: { demand, holdMs }, nodeId };
            if (mayBackfill(reservation, candidate, now) !== isHarmless)
              throw new Error(`${JSON.stringify(each)} on ${nodeId} is ${isHarmless ? 'harmless' : 'harmful'}`);
            if (!isHarmless) continue;
            held.push(added);
            reservation = afterBackfill(reservation, candidate, now);
            break;
          }
        }
      },
    ),
    { numRuns: 400, seed: 23 },
  );
  t.pass('400 random queues');
  t.end();
});

function earliestOn(
  held: readonly Held[],
  { nodeId, need, now }: { readonly nodeId: string; readonly need: Resources; readonly now: number },
): number | undefined {
  const other = nodeId === 'a' ? 'b' : 'a';
  const full = { nodeId: other, resources: anInventory().capacity, until: Number.POSITIVE_INFINITY };
  return earliest([...held.filter((one) => one.nodeId === nodeId), full], need, now);
}

t.test('smaller tasks pass a blocked one if they end before it starts, and others say what they wait for', (t) => {
  const cluster = new Scenario().join('n1');
  const task = (cpus: number, minutes: number | null, parts = {}) =>
    cluster.submit(
      oneStep({
        resources: { cpuMillis: cpus * 1_000 },
        timeLimitMs: minutes === null ? null : minutes * MINUTE_MS,
        stop,
        ...parts,
      }),
    );
  const placed = (): string[] => cluster.all('allocation.committed').map(({ allocationId }) => allocationId);
  task(2, 10).reports('j1.0#1', 'running');
  t.strictSame(placed(), []);
  task(4, 10);
  t.strictSame([...placed(), ...task(1, 20).all('allocation.committed')], [], 'j3 would delay j2');
  const startAt = new Date(cluster.clock.now() + 10 * MINUTE_MS).toISOString();
  t.match(why(cluster, 'j3'), { code: 'reservation', details: { jobId: 'j2', node: 'n1', startAt } });
  t.match(why(cluster, 'j2'), { code: 'capacity' });
  task(1, 5);
  t.strictSame(placed(), ['j4.0#1'], 'j4 is gone by then');
  task(1, null, { array: '0-9' });
  t.strictSame(placed(), [], 'nor may endless ones');
  cluster.exits('j4.0#1').exits('j1.0#1');
  t.strictSame(placed(), ['j2.0#1']);
  t.end();
});

t.test('a stream of small tasks does not starve a large one', (t) => {
  const cluster = new Scenario({ isChecked: false }).join('n1');
  const small = { array: '0-199', timeLimitMs: 3 * MINUTE_MS, stop };
  cluster.submit(oneStep(small));
  cluster.submit(oneStep({ resources: { cpuMillis: 4_000 }, timeLimitMs: MINUTE_MS, stop }, { priority: 1 }));
  let minutes = 0;
  for (; minutes < 60 && cluster.job('j2')?.steps.get('main')?.counts.placed === 0; minutes += 1) {
    cluster.after(MINUTE_MS);
    const [oldest] = [...cluster.view.allocations.values()].filter(({ phase }) => phase.kind !== 'ended');
    if (oldest) cluster.exits(oldest.id);
  }
  t.ok(minutes <= 4, `it waited ${minutes} minutes`);
  t.end();
});

t.test('a device that both could use counts against the reservation', (t) => {
  const inventory = anInventory({ gpus: gpus(4) });
  const cluster = new Scenario().join('g', { inventory });
  const run = (count: number, minutes: number): unknown =>
    cluster.submit(
      oneStep({
        resources: { gpus: { count, model: null, minMemoryMiB: null } },
        timeLimitMs: minutes * MINUTE_MS,
        stop,
      }),
    );
  run(2, 10);
  cluster.reports('j1.0#1', 'running');
  const now = cluster.clock.now();
  const reservation = reserve(cluster.view, { demand: demandOf(1_000, 512, 3), holdMs: MINUTE_MS }, { now });
  t.equal(reservation?.startAt, now + 10 * MINUTE_MS);
  t.match([...(reservation?.places ?? [])], [['g', { spareGpuCount: 1 }]]);
  if (!reservation) return t.end();
  const on = (gpuCount: number, holdMs: number) => ({
    claim: { demand: demandOf(500, 256, gpuCount), holdMs },
    nodeId: 'g' as NodeId,
  });
  t.ok(mayBackfill(reservation, on(2, 10 * MINUTE_MS), now), 'gone by then');
  t.notOk(mayBackfill(reservation, on(2, 11 * MINUTE_MS), now));
  t.ok(mayBackfill(reservation, on(1, Number.POSITIVE_INFINITY), now), 'beside it');
  const after = afterBackfill(reservation, on(1, Number.POSITIVE_INFINITY), now);
  t.notOk(mayBackfill(after, on(1, Number.POSITIVE_INFINITY), now), 'once');
  t.ok(mayBackfill(after, on(0, Number.POSITIVE_INFINITY), now), 'one without a device');
  t.end();
});
