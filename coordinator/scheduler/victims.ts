import { present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import type { AllocationId, NodeId } from '../../shared/ids.js';
import type { Allocation } from '../model/allocation.js';
import type { Job, Step } from '../model/job.js';
import { type ClusterView, stepOf } from '../model/state.js';
import { type Share, shareOf } from './room.js';

/** An attempt that has run for less is left alone: stopping it again and again would waste what it does. */
export const MIN_RUN_MS = 60_000;
/** A task that was sent back so often, by preemption or a drain, is left alone for good. */
export const MAX_PREEMPTIONS = 3;

/** Attempts that can only be stopped together: one, or all ranks of a gang. */
export interface Victim {
  readonly allocationIds: readonly AllocationId[];
  /** What they hold of the node in question. */
  readonly shares: readonly Share[];
  readonly priority: number;
  /** Work that would be done again: how long they have run, added up, in ms. */
  readonly lostMs: number;
}

export interface VictimSearch {
  readonly now: EpochMs;
  /** Only tasks of at most this priority. */
  readonly maxPriority: number;
  /** Attempts that are being stopped already. */
  readonly isChosen: (id: AllocationId) => boolean;
  /** Told when an attempt is spared only because it has not run for long enough. */
  readonly onTooYoung: (eligibleAt: EpochMs) => void;
}

/**
 * What may be stopped on a node for a task of higher priority, the cheapest first.
 *
 * Nothing whose task may not start again (`maxAttempts: 1`), nothing that was sent back too often or has just begun.
 * Cost: O(n log n) for the n allocations of the node, more for the ranks of gangs. Pure.
 */
export function victimsOn(view: ClusterView, nodeId: NodeId, search: VictimSearch): Victim[] {
  const node = present(view.nodes.get(nodeId), `node ${nodeId}`);
  const found = new Map<string, Victim>();
  const spared = new Set<string>();
  for (const id of view.index.usage(nodeId).live) {
    const allocation = present(view.allocations.get(id), `allocation ${id}`);
    const job = present(view.jobs.get(allocation.ref.jobId), `job of ${id}`);
    const step = present(stepOf(view, allocation.ref), `step of ${id}`);
    const key = step.spec.gang ? `${job.id}/${step.name}` : id;
    const known = found.get(key);
    const share = shareOf(node, allocation);
    if (known) found.set(key, { ...known, shares: [...known.shares, share] });
    if (known || spared.has(key)) continue;
    const together = step.spec.gang ? ranksOf(view, step) : [allocation];
    if (together.every((each) => isEligible(each, { job, step }, search))) {
      found.set(key, victimOf(together, { share, priority: job.spec.priority, now: search.now }));
    } else spared.add(key);
  }
  return [...found.values()].sort(cheaperFirst);
}

function ranksOf(view: ClusterView, step: Step): Allocation[] {
  const ranks: Allocation[] = [];
  for (const { phase } of step.tasks.values()) {
    const allocation = phase.kind === 'placed' ? view.allocations.get(phase.allocationId) : undefined;
    if (allocation && allocation.phase.kind !== 'ended') ranks.push(allocation);
  }
  return ranks;
}

function isEligible(
  allocation: Allocation,
  { job, step }: { readonly job: Job; readonly step: Step },
  { now, maxPriority, isChosen, onTooYoung }: VictimSearch,
): boolean {
  if (job.spec.priority > maxPriority || step.spec.retry.maxAttempts === 1) return false;
  if (allocation.phase.kind === 'stopping' || isChosen(allocation.id)) return false;
  const task = present(step.tasks.get(allocation.ref.index), `task of ${allocation.id}`);
  const sentBackCount = allocation.ref.attempt - 1 - task.spentAttempts - (task.rejectedAttempts ?? 0);
  if (sentBackCount >= MAX_PREEMPTIONS) return false;
  const eligibleAt = begunAt(allocation) + MIN_RUN_MS;
  if (eligibleAt > now) onTooYoung(eligibleAt);
  return eligibleAt <= now;
}

function begunAt({ startedAt, committedAt }: Allocation): EpochMs {
  return startedAt ?? committedAt;
}

function victimOf(
  together: readonly Allocation[],
  { share, priority, now }: { readonly share: Share; readonly priority: number; readonly now: EpochMs },
): Victim {
  const lostMs = together.reduce((sum, allocation) => sum + Math.max(0, now - begunAt(allocation)), 0);
  return { allocationIds: together.map(({ id }) => id), shares: [share], priority, lostMs };
}

function cheaperFirst(left: Victim, right: Victim): number {
  return left.priority - right.priority || left.lostMs - right.lostMs || compareIds(left, right);
}

function compareIds(left: Victim, right: Victim): number {
  return (left.allocationIds[0] ?? '') < (right.allocationIds[0] ?? '') ? -1 : 1;
}
