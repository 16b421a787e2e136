import { present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import type { StepSpec } from '../../shared/job-spec/spec.js';
import { stopFor } from '../../shared/job-spec/stop-for.js';
import { type GpuDevice, isEligibleGpu, type Resources } from '../../shared/resources.js';
import type { Allocation } from '../model/allocation.js';
import type { DemandClass } from '../model/demand.js';
import type { Node } from '../model/node.js';
import { type ClusterView, stepOf } from '../model/state.js';
import { give, hasFree, hasRoom, positionsOf, type Room, roomOf, type Share, shareFor, shareOf, take } from './room.js';
import { openGpus } from './slot.js';

/** A task that is to start, and for how long it would hold its place at most; Infinity without a time limit. */
export interface Claim {
  readonly demand: DemandClass;
  readonly holdMs: number;
}

/** The longest that an attempt holds its node: its time limit, and the time it has to stop. */
export function holdMsOf({ timeLimitMs, stop }: Pick<StepSpec, 'timeLimitMs' | 'stop'>): number {
  return timeLimitMs === null ? Number.POSITIVE_INFINITY : timeLimitMs + stop.graceMs;
}

/** How many tasks start together: all ranks of a gang, else one. */
export function togetherOf({ gangSize }: DemandClass): number {
  return gangSize ?? 1;
}

/** When the attempt is gone at the latest, but not before now, whatever its limit was; Infinity without any. */
export function endOf(view: ClusterView, allocation: Allocation, now: EpochMs): EpochMs {
  const { spec } = present(stepOf(view, allocation.ref), `step of ${allocation.id}`);
  const { phase, startedAt, committedAt } = allocation;
  if (phase.kind === 'stopping') return Math.max(now, phase.since + stopFor(spec, phase.reason).graceMs);
  return Math.max(now, (startedAt ?? committedAt) + holdMsOf(spec));
}

/** A node with what a plan at hand has started on it, which the view does not know yet. */
export interface Occupied {
  readonly node: Node;
  readonly started: readonly Started[];
}

/** A task that the plan at hand has placed. */
export interface Started {
  readonly claim: Claim;
  /** Indexes of its devices. */
  readonly gpus: readonly number[];
}

/** What is free on a node, less what a plan at hand has started there. */
export function roomBeside(view: ClusterView, { node, started }: Occupied): Room {
  const room = roomOf(view, node);
  for (const { claim, gpus } of started) take(room, shareFor(node, claim.demand, positionsOf(node, gpus)));
  return room;
}

/**
 * What is free on a node now and at each later moment, before one, at which something with a time limit ends, if
 * nothing more starts.
 *
 * It is one room, changed as the moments pass. Cost: O(n log n) for the n allocations there that have a time limit.
 */
export function* roomsOver(
  view: ClusterView,
  occupied: Occupied,
  { now, before = Number.POSITIVE_INFINITY }: { readonly now: EpochMs; readonly before?: EpochMs },
): Generator<{ readonly at: EpochMs; readonly room: Room }, void, undefined> {
  const { node, started } = occupied;
  const room = roomBeside(view, occupied);
  yield { at: now, room };
  const releases: { readonly at: EpochMs; readonly share: Share }[] = [];
  for (const { claim, gpus } of started) {
    if (now + claim.holdMs >= before) continue;
    releases.push({ at: now + claim.holdMs, share: shareFor(node, claim.demand, positionsOf(node, gpus)) });
  }
  for (const id of view.index.accounts.endingOn(node.id)) {
    const allocation = present(view.allocations.get(id), `allocation ${id}`);
    const at = endOf(view, allocation, now);
    if (at < before) releases.push({ at, share: shareOf(node, allocation) });
  }
  releases.sort((left, right) => left.at - right.at);
  for (let next = 0; next < releases.length; ) {
    const at = present(releases[next], 'release').at;
    for (; releases[next]?.at === at; next += 1) give(room, present(releases[next], 'release').share);
    yield { at, room };
  }
}

/** How many tasks of the demand fit into the room at once, counted up to a most. Cost: O(counted) with GPUs, else O(1). */
export function slotsIn(room: Room, demand: DemandClass, most: number): number {
  return hasRoom(room, demand) ? slotsFree(room, demand, most) : 0;
}

/** The same on a node that could hold such a task when empty. */
export function slotsFree(room: Room, demand: DemandClass, most: number): number {
  if (!hasFree(room, demand)) return 0;
  if (most === 1 || demand.exclusive) return 1;
  if (demand.gpus === null) return Math.min(most, copiesIn(room.free, demand.resources));
  const copy = { ...room, gpuMillis: [...room.gpuMillis] };
  let count = 0;
  for (; count < most && hasFree(copy, demand); count += 1) takeOne(copy, demand);
  return count;
}

function copiesIn(free: Resources, { cpuMillis, memoryMiB, diskMiB }: Resources): number {
  const times = (amount: number, each: number): number => (each === 0 ? Infinity : Math.floor(amount / each));
  const { cpuMillis: cpu, memoryMiB: memory, diskMiB: disk } = free;
  return Math.min(times(cpu, cpuMillis), times(memory, memoryMiB), times(disk, diskMiB));
}

/** A task of the demand takes its place in a room that has it, on the first devices that are open. */
export function takeOne(room: Room, demand: DemandClass): Share {
  const share = shareFor(room.node, demand, demand.gpus === null ? [] : openGpus(room, demand.gpus));
  take(room, share);
  return share;
}

/** What is free on a node beside a task, or several, that start there. */
export interface Beside {
  readonly spare: Resources;
  /** Devices that would have served the task too. */
  readonly spareGpuCount: number;
  /** The node's devices that could serve it, with nothing on them. */
  readonly devices: readonly GpuDevice[];
}

/** What is left of the room when so many tasks of the demand have started in it. */
export function besideTasks(room: Room, demand: DemandClass, count: number): Beside {
  const openCount = demand.gpus === null ? 0 : openGpus(room, demand.gpus).length;
  const copy = { ...room, gpuMillis: [...room.gpuMillis] };
  for (let taken = 0; taken < count; taken += 1) takeOne(copy, demand);
  if (demand.exclusive) return { spare: copy.free, spareGpuCount: 0, devices: room.node.inventory.gpus };
  const { gpus } = demand;
  const devices = gpus === null ? [] : room.node.inventory.gpus.filter((device) => isEligibleGpu(device, gpus));
  return { spare: copy.free, spareGpuCount: Math.max(0, openCount - count * (gpus?.count ?? 0)), devices };
}
