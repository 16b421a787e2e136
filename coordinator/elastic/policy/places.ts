import type { EpochMs } from '../../../shared/clock.js';
import type { NodeId } from '../../../shared/ids.js';
import { WHOLE_GPU_MILLIS } from '../../../shared/resources.js';
import type { Allocation } from '../../model/allocation.js';
import type { DemandClass } from '../../model/demand.js';
import type { Step } from '../../model/job.js';
import type { ReadyStep } from '../../model/lanes.js';
import type { Node } from '../../model/node.js';
import type { Pool } from '../../model/pool.js';
import { type ClusterView, stepOf } from '../../model/state.js';
import { orderQueue } from '../../scheduler/order.js';
import { togetherOf } from '../../scheduler/outlook.js';
import type { PlanPolicy } from '../../scheduler/plan.js';
import { type Room, roomOf, type Share, shareOf } from '../../scheduler/room.js';
import { usableNodes } from '../../scheduler/slot.js';

/** A node that is there, or will be. */
export interface Place {
  readonly nodeId: NodeId;
  /** Undefined for nodes that are in none. */
  readonly pool: string | undefined;
  readonly room: Room;
  readonly readyAt: EpochMs;
  /** What its tasks will give back, as far as it is known when, in that order. */
  readonly releases: readonly Release[];
}

interface Release {
  readonly at: EpochMs;
  readonly share: Share;
}

/** A task that waits, or a gang, and how long it is expected to run. */
export interface Waiting {
  readonly demand: DemandClass;
  readonly runMs: number;
  readonly of: QueuePlace;
}

/** Whose task it is, and where that is in the queue. */
export type QueuePlace = Pick<ReadyStep, 'jobId' | 'step' | 'priority' | 'sequence'>;

export const LOOK_AHEAD = {
  /** Waiting tasks, or gangs, that are looked at; what is behind them is looked at when they are served. */
  maxWaiting: 500,
  /** A task that has run for longer than expected will run for this part of that still, and for as long as it is late. */
  overdueShare: 0.2,
  /** A task that will never start waits for so long, for the sake of sums. */
  neverMs: 24 * 3_600_000,
} as const;

/** What is there, with the ends of what runs as they are expected. Cost: O(nodes + live allocations). */
export function placesNow(view: ClusterView, now: EpochMs): Place[] {
  const runs = new Map<Step | undefined, number>();
  const endOf = (allocation: Allocation): EpochMs => {
    const step = stepOf(view, allocation.ref);
    const expectedMs = runs.get(step) ?? expectedRunMs(view, allocation.ref.jobId, allocation.ref.step);
    runs.set(step, expectedMs);
    const startedAt = allocation.startedAt ?? allocation.committedAt;
    const lateMs = Math.max(0, now - startedAt - expectedMs);
    return Math.max(startedAt + expectedMs, now + Math.max(LOOK_AHEAD.overdueShare * expectedMs, lateMs));
  };
  return usableNodes(view).map((node) => {
    const releases: Release[] = [];
    for (const id of view.index.usage(node.id).live) {
      const allocation = view.allocations.get(id);
      if (allocation) releases.push({ at: endOf(allocation), share: shareOf(node, allocation) });
    }
    releases.sort((left, right) => left.at - right.at);
    const instanceId = view.index.instanceByNode.get(node.id);
    const pool = instanceId && view.instances.get(instanceId)?.pool;
    return { nodeId: node.id, pool, room: roomOf(view, node), readyAt: now, releases };
  });
}

/** An empty node of the pool that will join. */
export function placeComing({ spec, nodeClass }: Pool, nodeId: NodeId, readyAt: EpochMs): Place {
  const { capacity, gpus, labels, attributes } = nodeClass;
  const inventory = { capacity, gpus, labels, attributes, drivers: [] };
  const node = { id: nodeId, inventory, nodeClass } as unknown as Node;
  const room = { node, free: capacity, gpuMillis: gpus.map(() => WHOLE_GPU_MILLIS) };
  return { nodeId, pool: spec.name, room, readyAt, releases: [] };
}

/** Tasks that wait for room, in the order in which they are served; those beyond a limit wait for something else. */
export function waitingTasks(view: ClusterView, policy: PlanPolicy, now: EpochMs): Waiting[] {
  const found: Waiting[] = [];
  const queue = orderQueue(view, policy, now);
  const left = new Map<unknown, number>();
  for (const entry of queue) {
    const step = stepOf(view, entry);
    if (!step) continue;
    const together = togetherOf(entry.demand);
    const task = { demand: entry.demand, runMs: expectedRunMs(view, entry.jobId, entry.step), of: entry };
    let remaining = left.get(entry) ?? step.counts.queued;
    while (remaining >= together && queue.take(entry, { count: together })) {
      found.push(task);
      if (found.length >= LOOK_AHEAD.maxWaiting) return found;
      remaining -= together;
      if (queue.isTurnOver) break;
    }
    left.set(entry, remaining);
  }
  return found;
}

function expectedRunMs(view: ClusterView, jobId: Parameters<ClusterView['jobs']['get']>[0], name: string): number {
  const { experience } = view.index;
  const job = view.jobs.get(jobId);
  const step = job?.steps.get(name);
  if (!job || !step) return experience.usualRunMs;
  return experience.runMs(step.demand, job.spec.name) ?? step.spec.timeLimitMs ?? experience.usualRunMs;
}
