import { type AllocationRef, allocationIdOf, type NodeId } from '../../shared/ids.js';
import type { AllocationEnd } from '../../shared/outcome.js';
import type { Step } from './job.js';
import { isTarget } from './mirror.js';
import type { ClusterView } from './state.js';

/** A task that its nodes have rejected so often is given up: with the pauses between, that takes about ten hours. */
export const MAX_REJECTIONS = 50;
const FIRST_PAUSE_MS = 5_000;
const MAX_PAUSE_MS = 15 * 60_000;

/**
 * Is the end a node's own trouble, which says nothing of the task? What a remote batch system refuses is about the job:
 * nobody else could take it.
 */
export function isNodesRejection(step: Pick<Step, 'demand'>, end: AllocationEnd): boolean {
  return end.kind === 'rejected' && !isTarget(step.demand.driver);
}

/** Doubles with each rejection. No jitter: one task's retries cannot form a herd. */
export function rejectionPauseMs(rejectedAttempts: number): number {
  return Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (rejectedAttempts - 1));
}

/** Who rejected the attempt before this one, and why; undefined when nobody did. */
export function rejectionBefore(
  { allocations }: Pick<ClusterView, 'allocations'>,
  { attempt, ...task }: AllocationRef,
): { readonly nodeId: NodeId; readonly message: string } | undefined {
  const before = allocations.get(allocationIdOf({ ...task, attempt: attempt - 1 }));
  if (before?.phase.kind !== 'ended' || before.phase.end.kind !== 'rejected') return undefined;
  return { nodeId: before.nodeId, message: before.phase.end.message };
}
