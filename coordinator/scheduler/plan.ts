import { present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import { type AllocationId, allocationIdOf, type NodeId } from '../../shared/ids.js';
import { NO_LIMITS } from '../../shared/limits.js';
import { eachIndex } from '../../shared/ranges.js';
import { fits, gpuMillisOn, subtractResources } from '../../shared/resources.js';
import type { DemandClass } from '../model/demand.js';
import type { ReadyStep } from '../model/lanes.js';
import { type ClusterView, stepOf } from '../model/state.js';
import { Board, openGpus, type Slot } from './board.js';
import { type OrderPolicy, orderQueue } from './order.js';
import { idleAfter } from './score.js';

/** A proposal; it becomes an allocation when the engine commits it. */
export interface Placement {
  readonly allocationId: AllocationId;
  readonly nodeId: NodeId;
  readonly gpus: readonly number[];
}

export interface Plan {
  readonly placements: readonly Placement[];
  /** More could have been placed: plan again after these are committed. */
  readonly isPartial: boolean;
}

export interface PlanPolicy extends OrderPolicy {
  /** One plan's placements are committed as one batch; a larger plan would hold up everybody else. */
  readonly maxPlacements: number;
}

export const DEFAULT_PLAN_POLICY: PlanPolicy = { maxPlacements: 2_000, limits: NO_LIMITS };

/**
 * Places waiting tasks on free capacity: best fit, in the order of the queue (see order.ts).
 *
 * A task that does not fit now lets smaller ones pass. Once a demand
 * class has not fitted, no later task of that class is tried: capacity only shrinks while planning.
 * Pure. Cost: O(nodes) per demand class and per node filled, not per task.
 */
export function plan(view: ClusterView, policy: PlanPolicy, now: EpochMs): Plan {
  const board = new Board(view);
  const placements: Placement[] = [];
  const queue = orderQueue(view, policy, now);
  const begun = new Map<ReadyStep, Iterator<ReadyTask>>();
  for (const entry of queue) {
    const { demand } = entry;
    const tasks = begun.get(entry) ?? readyTasks(view, entry, now);
    let slot: Slot | undefined;
    for (let task = tasks.next(); !task.done; task = tasks.next()) {
      if (!slot || !isRoomIn(slot, demand)) slot = bestFit(board, demand);
      if (!slot) {
        queue.exhaust(demand);
        break;
      }
      if (placements.length >= policy.maxPlacements) return { placements, isPartial: true };
      if (!queue.take(entry)) break;
      placements.push(place(slot, demand, allocationIdOf({ jobId: entry.jobId, step: entry.step, ...task.value })));
      if (queue.isTurnOver) break;
    }
    if (queue.isTurnOver) begun.set(entry, tasks);
  }
  return { placements, isPartial: false };
}

interface ReadyTask {
  readonly index: number;
  readonly attempt: number;
}

/** Tasks to place now: those that wait again, by index, then those that were never placed. */
function* readyTasks(view: ClusterView, entry: ReadyStep, now: EpochMs): Generator<ReadyTask, void, undefined> {
  const step = present(stepOf(view, entry), `queued step of ${entry.jobId}`);
  for (const index of [...entry.retries].sort((left, right) => left - right)) {
    const phase = step.tasks.get(index)?.phase;
    if (phase?.kind === 'queued' && phase.notBefore <= now) yield { index, attempt: phase.attempt };
  }
  for (const index of eachIndex(step.untouched)) yield { index, attempt: 1 };
}

function bestFit(board: Board, demand: DemandClass): Slot | undefined {
  let best: Slot | undefined;
  let leastIdle = Number.POSITIVE_INFINITY;
  for (const slot of board.slots) {
    if (!isRoomIn(slot, demand) || !board.isFeasible(demand, slot.node.nodeClass)) continue;
    const idle = idleAfter(slot, demand);
    if (idle < leastIdle) {
      best = slot;
      leastIdle = idle;
    }
  }
  return best;
}

function isRoomIn(slot: Slot, demand: DemandClass): boolean {
  if (!fits(demand.resources, slot.free)) return false;
  return demand.gpus === null || openGpus(slot, demand.gpus).length >= demand.gpus.count;
}

function place(slot: Slot, demand: DemandClass, allocationId: AllocationId): Placement {
  const devices = chooseGpus(slot, demand);
  slot.free = subtractResources(slot.free, demand.resources);
  const gpus = devices.map((position) => {
    const device = present(slot.node.inventory.gpus[position], 'chosen device');
    if (demand.gpus) slot.gpuMillis[position] = (slot.gpuMillis[position] ?? 0) - gpuMillisOn(device, demand.gpus);
    return device.index;
  });
  return { allocationId, nodeId: slot.node.id, gpus };
}

/** Positions of the devices for a task that fits: the fullest first, then the smallest. */
function chooseGpus(slot: Slot, { gpus }: DemandClass): readonly number[] {
  if (gpus === null) return [];
  const free = (position: number): number => slot.gpuMillis[position] ?? 0;
  const memory = (position: number): number => slot.node.inventory.gpus[position]?.memoryMiB ?? 0;
  return [...openGpus(slot, gpus)]
    .sort((left, right) => free(left) - free(right) || memory(left) - memory(right) || left - right)
    .slice(0, gpus.count);
}
