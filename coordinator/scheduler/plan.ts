import { present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import { type AllocationId, allocationIdOf, type NodeId } from '../../shared/ids.js';
import { eachIndex } from '../../shared/ranges.js';
import { fits, subtractResources } from '../../shared/resources.js';
import type { DemandClass } from '../model/demand.js';
import type { ReadyStep } from '../model/indexes.js';
import { type ClusterView, stepOf } from '../model/state.js';
import { Board, chooseGpus, type Slot } from './board.js';
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

export interface PlanPolicy {
  /** One plan's placements are committed as one batch; a larger plan would hold up everybody else. */
  readonly maxPlacements: number;
}

export const DEFAULT_PLAN_POLICY: PlanPolicy = { maxPlacements: 2_000 };

/**
 * Places waiting tasks on free capacity: best fit, in the order of the queue.
 *
 * Higher priority goes first, then the older job. A task that does not fit now lets smaller ones pass. Once a demand
 * class has not fitted, no later task of that class is tried: capacity only shrinks while planning.
 * Pure. Cost: O(nodes) per demand class and per node filled, not per task.
 */
export function plan(view: ClusterView, policy: PlanPolicy, now: EpochMs): Plan {
  const board = new Board(view);
  const placements: Placement[] = [];
  const full = new Set<DemandClass>();
  for (const entry of view.index.ready) {
    const { demand } = present(stepOf(view, entry), `queued step of ${entry.jobId}`);
    if (full.has(demand)) continue;
    let slot: Slot | undefined;
    for (const { index, attempt } of readyTasks(view, entry, now)) {
      if (!slot || !isRoomIn(slot, demand)) slot = bestFit(board, demand);
      if (!slot) {
        full.add(demand);
        break;
      }
      if (placements.length >= policy.maxPlacements) return { placements, isPartial: true };
      placements.push(place(slot, demand, allocationIdOf({ jobId: entry.jobId, step: entry.step, index, attempt })));
    }
  }
  return { placements, isPartial: false };
}

/** Tasks to place now: those that wait again, by index, then those that were never placed. */
function* readyTasks(
  view: ClusterView,
  entry: ReadyStep,
  now: EpochMs,
): Generator<{ readonly index: number; readonly attempt: number }> {
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
  return demand.gpus === null || chooseGpus(slot, demand) !== undefined;
}

function place(slot: Slot, demand: DemandClass, allocationId: AllocationId): Placement {
  const devices = present(chooseGpus(slot, demand), 'devices for a task that fits');
  slot.free = subtractResources(slot.free, demand.resources);
  if (devices.length > 0) slot.freeGpus = slot.freeGpus.filter((device) => !devices.includes(device));
  return { allocationId, nodeId: slot.node.id, gpus: devices.map((device) => device.index) };
}
