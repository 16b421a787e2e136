import { present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import { type AllocationId, allocationIdOf, type NodeId } from '../../shared/ids.js';
import { NO_LIMITS } from '../../shared/limits.js';
import { eachIndex } from '../../shared/ranges.js';
import type { ReadyStep } from '../model/lanes.js';
import { type ClusterView, stepOf } from '../model/state.js';
import { Guard } from './guard.js';
import { type OrderPolicy, orderQueue } from './order.js';
import { Placer } from './placer.js';
import type { Packing } from './score.js';
import { holdMsOf } from './timeline.js';

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
  readonly packing: Packing;
}

export const DEFAULT_PLAN_POLICY: PlanPolicy = { maxPlacements: 2_000, packing: 'pack', limits: NO_LIMITS };

/**
 * Places waiting tasks on free capacity, in the order of the queue (see order.ts), each where it costs least (score.ts).
 *
 * A task that does not fit now lets smaller ones pass, if they do not delay its reservation (backfill.ts). Once a demand class has not fitted, no later task of that class
 * is tried: capacity only shrinks while planning.
 *
 * @param placer  kept from plan to plan it saves finding again what has not changed; it decides nothing
 * Pure beside that memory. Cost: O(nodes) a plan and O(nodes) for a demand class that is new to the placer, then
 * O(log nodes) for each pair of a placed task and a demand class that is asked for afterwards.
 */
export function plan(view: ClusterView, policy: PlanPolicy, now: EpochMs, placer = new Placer()): Plan {
  placer.follow(view, policy.packing);
  const placements: Placement[] = [];
  const queue = orderQueue(view, policy, now);
  const guard = new Guard(view, placer.nodes, now);
  const begun = new Map<ReadyStep, Iterator<ReadyTask>>();
  for (const entry of queue) {
    const { demand } = entry;
    const claim = { demand, holdMs: holdMsOf(present(stepOf(view, entry), 'queued step').spec) };
    const tasks = begun.get(entry) ?? readyTasks(view, entry, now);
    for (let task = tasks.next(); !task.done; task = tasks.next()) {
      const best = placer.find(demand);
      if (best === undefined) {
        guard.block(claim);
        queue.exhaust(demand);
        break;
      }
      // At most one node is reserved, so that beside it is not.
      const row = guard.permits(claim, placer.nodeOf(best).id) ? best : placer.findBeside(best, demand);
      if (row === undefined) break;
      if (placements.length >= policy.maxPlacements) return { placements, isPartial: true };
      if (!queue.take(entry, placer.nodeOf(row))) break;
      const { node, gpus } = placer.place(row, demand);
      const allocationId = allocationIdOf({ jobId: entry.jobId, step: entry.step, ...task.value });
      placements.push({ allocationId, nodeId: node.id, gpus });
      guard.note(claim, { nodeId: node.id, gpus });
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
