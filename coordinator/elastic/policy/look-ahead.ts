import type { EpochMs } from '../../../shared/clock.js';
import type { NodeId } from '../../../shared/ids.js';
import { WHOLE_GPU_MILLIS } from '../../../shared/resources.js';
import type { DemandClass } from '../../model/demand.js';
import { MinHeap } from '../../model/heap.js';
import type { ReadyStep } from '../../model/lanes.js';
import type { Node } from '../../model/node.js';
import type { Pool } from '../../model/pool.js';
import { type ClusterView, stepOf } from '../../model/state.js';
import { orderQueue } from '../../scheduler/order.js';
import { slotsIn, takeOne, togetherOf } from '../../scheduler/outlook.js';
import type { PlanPolicy } from '../../scheduler/plan.js';
import { give, hasRoom, type Room, roomOf, type Share, shareOf } from '../../scheduler/room.js';
import { usableNodes } from '../../scheduler/slot.js';

/** A node that is there, or will be. */
export interface Place {
  readonly nodeId: NodeId;
  /** Undefined for nodes that are in none. */
  readonly pool: string | undefined;
  readonly room: Room;
  readonly readyAt: EpochMs;
  /** What its tasks will give back, as far as it is known when. */
  readonly releases: readonly { readonly at: EpochMs; readonly share: Share }[];
}

/** A task that waits, and how long it is expected to run. */
export interface Waiting {
  readonly demand: DemandClass;
  readonly runMs: number;
  readonly of: QueuePlace;
}

/** Whose task it is, and where that is in the queue. */
export type QueuePlace = Pick<ReadyStep, 'jobId' | 'step' | 'priority' | 'sequence'>;

export const LOOK_AHEAD = {
  /** Waiting tasks that are looked at; what is behind them is looked at when they are served. */
  maxWaiting: 500,
  /** A task that has run for longer than expected will run for this part of that still, and for as long as it is late. */
  overdueShare: 0.2,
  /** A task that will never start waits for so long, for the sake of sums. */
  neverMs: 24 * 3_600_000,
} as const;

/** What is there, with the ends of what runs as they are expected. Cost: O(nodes + live allocations). */
export function placesNow(view: ClusterView, now: EpochMs): Place[] {
  return usableNodes(view).map((node) => {
    const releases = [...view.index.usage(node.id).live].flatMap((id) => {
      const allocation = view.allocations.get(id);
      if (!allocation) return [];
      const expectedMs = expectedRunMs(view, allocation.ref.jobId, allocation.ref.step);
      const startedAt = allocation.startedAt ?? allocation.committedAt;
      const lateMs = Math.max(0, now - startedAt - expectedMs);
      const at = Math.max(startedAt + expectedMs, now + Math.max(LOOK_AHEAD.overdueShare * expectedMs, lateMs));
      return [{ at, share: shareOf(node, allocation) }];
    });
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
      for (let rank = 0; rank < together; rank += 1) found.push(task);
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

export interface Ahead {
  /** When each waiting task is expected to start, in their order. */
  readonly starts: readonly EpochMs[];
  /** Slots of the sampled demand that are free at each sampled moment. */
  readonly free: readonly number[];
}

interface Sample {
  readonly demand: DemandClass;
  readonly moments: readonly EpochMs[];
}

type Happening =
  | { readonly kind: 'ready'; readonly place: Place }
  | { readonly kind: 'release'; readonly room: Room; readonly share: Share }
  | { readonly kind: 'sample' };

/**
 * Serves the waiting tasks in their order as room comes up, each where it fits, none holding room back for another.
 *
 * An estimate: it decides about machines, never about tasks.
 * Cost: O((releases + waiting) x demands x places).
 */
export function lookAhead(
  places: readonly Place[],
  waiting: readonly Waiting[],
  { now, sample }: { readonly now: EpochMs; readonly sample?: Sample },
): Ahead {
  const happenings = new MinHeap<Happening>();
  const rooms: Room[] = [];
  for (const place of places) happenings.push(place.readyAt, { kind: 'ready', place });
  for (const at of sample?.moments ?? []) happenings.push(at, { kind: 'sample' });
  const starts: EpochMs[] = waiting.map(() => now + LOOK_AHEAD.neverMs);
  const free: number[] = [];
  const open = new Set(waiting.keys());
  for (let at = happenings.firstAt(); at !== undefined; at = happenings.firstAt()) {
    let isSampled = false;
    while (happenings.firstAt() === at) {
      const next = happenings.pop();
      if (next?.kind === 'ready') {
        const room = { ...next.place.room, gpuMillis: [...next.place.room.gpuMillis] };
        rooms.push(room);
        for (const release of next.place.releases)
          happenings.push(release.at, { kind: 'release', room, share: release.share });
      } else if (next?.kind === 'release') give(next.room, next.share);
      else isSampled = true;
    }
    const full = new Set<DemandClass>();
    for (const index of open) {
      const task = waiting[index];
      if (!task || full.has(task.demand)) continue;
      const room = rooms.find((each) => hasRoom(each, task.demand));
      if (!room) {
        full.add(task.demand);
        continue;
      }
      happenings.push(at + task.runMs, { kind: 'release', room, share: takeOne(room, task.demand) });
      starts[index] = at;
      open.delete(index);
    }
    if (isSampled && sample) free.push(rooms.reduce((sum, room) => sum + slotsIn(room, sample.demand, MAX_SLOTS), 0));
    if (open.size === 0 && free.length === (sample?.moments.length ?? 0)) break;
  }
  return { starts, free };
}

/** More free slots on one node than this are as good as this many. */
const MAX_SLOTS = 64;
