import fc from 'fast-check';
import t from 'tap';
import { heldGpuMillis } from '../../coordinator/model/allocation.js';
import type { DemandClass } from '../../coordinator/model/demand.js';
import { ClassTable } from '../../coordinator/model/demand.js';
import { obstacleTo } from '../../coordinator/model/feasible.js';
import type { Node } from '../../coordinator/model/node.js';
import type { ClusterView } from '../../coordinator/model/state.js';
import { reserve } from '../../coordinator/scheduler/backfill.js';
import { explainStep } from '../../coordinator/scheduler/explain.js';
import { DEFAULT_PLAN_POLICY, plan } from '../../coordinator/scheduler/plan.js';
import type { NodeId } from '../../shared/ids.js';
import { type Limits, NO_LIMITS } from '../../shared/limits.js';
import { gpuMillisOn, isEligibleGpu } from '../../shared/resources.js';
import type { Inventory } from '../../shared/wire/messages.js';
import { ALL_LIMITS, anyDemand, anyNodes, anySubmission, stepOfDemand } from '../kit/any-cluster.js';
import { aStep, oneStep } from '../kit/builders.js';
import { Scenario } from '../kit/scenario.js';
import { beyondLimits } from '../sim/limits.js';

const NAMES = ['a', 'b', 'c', 'd'];
const POLICY = { ...DEFAULT_PLAN_POLICY, limits: ALL_LIMITS };

function joined(inventories: readonly Inventory[], options = {}): Scenario {
  const cluster = new Scenario({ limits: ALL_LIMITS, ...options });
  for (const [position, inventory] of inventories.entries()) cluster.join(NAMES[position] ?? '', { inventory });
  return cluster;
}

/** What is free beside the allocations that are left in, added up from the records. */
function hasRoomBeside(
  view: ClusterView,
  node: Node,
  {
    demand,
    isHeld,
  }: {
    readonly demand: DemandClass;
    readonly isHeld: (allocationId: string) => boolean;
  },
): boolean {
  const held = [...view.allocations.values()].filter(
    ({ id, nodeId, phase }) => nodeId === node.id && phase.kind !== 'ended' && isHeld(id),
  );
  if (obstacleTo(demand, node.nodeClass)) return false;
  if (demand.exclusive || held.some(({ exclusive }) => exclusive)) return held.length === 0;
  const { capacity, gpus } = node.inventory;
  for (const resource of ['cpuMillis', 'memoryMiB', 'diskMiB'] as const) {
    const used = held.reduce((sum, { resources }) => sum + resources[resource], 0);
    if (used + demand.resources[resource] > capacity[resource]) return false;
  }
  const wanted = demand.gpus;
  if (wanted === null) return true;
  const open = gpus.filter((device) => {
    if (!isEligibleGpu(device, wanted)) return false;
    let millis = gpuMillisOn(device, wanted);
    for (const allocation of held) {
      const position = allocation.gpus.indexOf(device.index);
      if (position >= 0) millis += heldGpuMillis(allocation, position);
    }
    return millis <= 1_000;
  });
  return open.length >= wanted.count;
}

function reasonOf(cluster: Scenario, jobId: string, limits: Limits): string | undefined {
  const job = cluster.job(jobId);
  const step = job?.steps.get('main');
  if (!job || !step) return undefined;
  return explainStep(cluster.view, { job, step }, { limits, now: cluster.clock.now() })?.code;
}

/** Every allocation has the devices that it asked for, or, exclusive, all that are in use. */
function checkDevices(cluster: Scenario): void {
  for (const { id, nodeId, ref, gpus: held, phase } of cluster.view.allocations.values()) {
    if (phase.kind === 'ended') continue;
    const demand = cluster.job(ref.jobId)?.steps.get('main')?.demand;
    const devices = cluster.node(nodeId)?.inventory.gpus ?? [];
    const usable = devices.filter(({ fault }) => fault === undefined);
    const count = demand?.exclusive ? usable.length : (demand?.gpus?.count ?? 0);
    if (new Set(held).size !== count) throw new Error(`${id} has the devices ${held} instead of ${count}`);
    for (const device of devices.filter(({ index }) => held.includes(index))) {
      const wanted = demand?.exclusive ? undefined : demand?.gpus;
      if (device.fault !== undefined || (wanted && !isEligibleGpu(device, wanted)))
        throw new Error(`${id} has ${device.model} ${device.mig ?? ''}`);
    }
  }
}

/**
 * The most urgent job that waits for room: would it have had room if nothing less urgent had been placed in this plan?
 * Those behind it may be kept back for its sake, and then shorter ones pass them.
 */
function checkHead(cluster: Scenario, limits: Limits): void {
  const placedNow = new Set<string>(cluster.all('allocation.committed').map(({ allocationId }) => allocationId));
  const waiting = [...cluster.view.jobs.values()].filter(({ id }) =>
    ['capacity', 'reservation'].includes(reasonOf(cluster, id, limits) ?? ''),
  );
  const highest = Math.max(...waiting.map(({ spec }) => spec.priority));
  const heads = waiting.filter(({ spec }) => spec.priority === highest);
  const demand = heads[0]?.steps.get('main')?.demand;
  // Of several with one priority the order is that of shares, which the commits have changed by now.
  if (heads.length !== 1 || !demand) return;
  const isHeld = (id: string): boolean => {
    const allocation = cluster.allocation(id);
    const other = allocation && cluster.job(allocation.ref.jobId);
    return !placedNow.has(id) || (other?.spec.priority ?? 0) >= highest;
  };
  for (const node of cluster.view.nodes.values())
    if (hasRoomBeside(cluster.view, node, { demand, isHeld }))
      throw new Error(`${heads[0]?.id} waits on ${node.id} for less urgent work that was placed now`);
}

const anyStory = fc.array(fc.tuple(anySubmission, fc.nat({ max: 60 })), { minLength: 2, maxLength: 9 });
type Story = typeof anyStory extends fc.Arbitrary<infer Value> ? Value : never;

/** Submits one job after the other, ends some task after some of them, and checks after every plan. */
function play(cluster: Scenario, story: Story, check: () => void): void {
  for (const [{ by, spec }, ended] of story) {
    cluster.submitAs(by, spec);
    check();
    const live = [...cluster.view.allocations.values()].filter(({ phase }) => phase.kind !== 'ended');
    const last = live[ended % (2 * live.length + 1)];
    if (!last) continue;
    cluster.exits(last.id);
    check();
  }
}

t.test('with everything at once no device, node or limit is exceeded, and nothing waits that could go', (t) => {
  fc.assert(
    fc.property(anyNodes, anyStory, (nodes, story) => {
      const cluster = joined(nodes);
      play(cluster, story, () => {
        checkDevices(cluster);
        const beyond = beyondLimits(cluster.view, ALL_LIMITS);
        if (beyond.length > 0) throw new Error(beyond.join('; '));
        for (const id of cluster.view.jobs.keys())
          if (reasonOf(cluster, id, ALL_LIMITS) === 'starting') throw new Error(`${id} could go and waits`);
      });
    }),
    { numRuns: 60, seed: 77 },
  );
  t.pass('60 random stories; usage is added up anew after each input');
  t.end();
});

t.test('less urgent work goes first only where the most urgent has no room', (t) => {
  // A quota that a whole node would exceed stops an exclusive task also where a smaller node is free.
  const limits = { ...NO_LIMITS, licences: ALL_LIMITS.licences };
  fc.assert(
    fc.property(anyNodes, anyStory, (nodes, story) => {
      const cluster = joined(nodes, { limits, isChecked: false });
      play(cluster, story, () => checkHead(cluster, limits));
    }),
    { numRuns: 150, seed: 80 },
  );
  t.pass('150 random stories');
  t.end();
});

t.test('with everything at once the plan is the same in whatever order maps hold jobs and nodes', (t) => {
  fc.assert(
    fc.property(anyNodes, fc.array(anySubmission, { minLength: 1, maxLength: 8 }), (nodes, submissions) => {
      const cluster = joined(nodes);
      for (const nodeId of cluster.view.nodes.keys())
        cluster.when({ type: 'cordonNode', nodeId: nodeId as NodeId, reason: 'x', by: 't' });
      for (const { by, spec } of submissions) cluster.submitAs(by, spec);
      const opened = [...cluster.view.nodes].map(
        ([id, node]) => [id, { ...node, intake: { kind: 'open' } as const }] as const,
      );
      const jobs = [...cluster.view.jobs];
      const plans = [
        { nodes: new Map(opened), jobs: new Map(jobs) },
        { nodes: new Map([...opened].reverse()), jobs: new Map([...jobs].reverse()) },
      ].map((maps) => JSON.stringify(plan({ ...cluster.view, ...maps }, POLICY, cluster.clock.now())));
      if (plans[0] !== plans[1]) throw new Error(`${plans[0]} differs from ${plans[1]}`);
    }),
    { numRuns: 60, seed: 78 },
  );
  t.pass('60 random queues');
  t.end();
});

const classes = new ClassTable();

/** The oracle: at every moment at which anything ends, on every node, with whatever has not ended by then. */
function earliest(cluster: Scenario, demand: DemandClass): number | undefined {
  const now = cluster.clock.now();
  const endOf = (id: string): number => {
    const allocation = cluster.allocation(id);
    const limitMs = allocation && cluster.job(allocation.ref.jobId)?.steps.get('main')?.spec.timeLimitMs;
    return allocation && limitMs != null ? (allocation.startedAt ?? 0) + limitMs : Number.POSITIVE_INFINITY;
  };
  const ends = [...cluster.view.allocations.keys()]
    .map(endOf)
    .filter((at) => at > now && at < Number.POSITIVE_INFINITY);
  for (const at of [now, ...ends].sort((left, right) => left - right)) {
    for (const node of cluster.view.nodes.values())
      if (hasRoomBeside(cluster.view, node, { demand, isHeld: (id) => endOf(id) > at })) return at;
  }
  return undefined;
}

t.test('a reservation of any demand is the earliest moment that trying everything finds', (t) => {
  fc.assert(
    fc.property(anyNodes, fc.array(anyDemand, { maxLength: 8 }), anyDemand, (nodes, running, head) => {
      const cluster = joined(nodes, { limits: NO_LIMITS, isChecked: false });
      for (const each of running) {
        cluster.submit(oneStep(stepOfDemand(each), { allowFutureNodes: true }));
        for (const { allocationId } of cluster.all('allocation.committed')) cluster.reports(allocationId, 'running');
      }
      const demand = classes.demandOf(aStep(stepOfDemand(head)));
      const found = reserve(cluster.view, { demand, holdMs: 1 }, { now: cluster.clock.now() })?.startAt ?? undefined;
      const expected = earliest(cluster, demand);
      if (found !== expected) throw new Error(`reserved for ${found}, could start at ${expected}`);
    }),
    { numRuns: 300, seed: 79 },
  );
  t.pass('300 random clusters');
  t.end();
});
