import { createHash } from 'node:crypto';
import { type AllocationId, allocationIdOf, type NodeId } from '../../../shared/ids.js';
import { formatRanges, withIndexes } from '../../../shared/ranges.js';
import type { InputOrder } from '../../../shared/wire/messages.js';
import { inputOrders } from '../../engine/input-orders.js';
import type { Allocation } from '../../model/allocation.js';
import type { Job, Step } from '../../model/job.js';
import type { ClusterView } from '../../model/state.js';
import { type ArrayRange, fitsRange, indexOffset } from '../array-range.js';

/** Attempts that are, or may become, one remote job. */
export interface Group {
  readonly job: Job;
  readonly step: Step;
  readonly inputs: readonly InputOrder[];
  readonly allocations: readonly Allocation[];
}

/** More in one array would be one step for all of them: files, a look, a cancellation. */
const MAX_ARRAY = 1_000;

/**
 * Live attempts by the remote job that they belong to. Those with a tag stay together; of the others, tasks of one
 * step and attempt number with equal inputs become one array, if the site takes their indexes in one.
 */
export function groupsOf(
  view: ClusterView,
  ids: Iterable<AllocationId>,
  rangeOf: (nodeId: NodeId) => ArrayRange,
): readonly Group[] {
  const open = new Map<string, { group: Group; members: Allocation[] }>();
  const all: Group[] = [];
  for (const allocation of byIndex(view, ids)) {
    const job = view.jobs.get(allocation.ref.jobId);
    const step = job?.steps.get(allocation.ref.step);
    if (!job || !step || allocation.phase.kind === 'ended') continue;
    const { inputs = [] } = inputOrders(view, { job, step, index: allocation.ref.index });
    const { jobId, attempt } = allocation.ref;
    const key = allocation.mirror?.tag ?? JSON.stringify([jobId, step.name, attempt, inputs]);
    const known = open.get(key);
    if (known && mayJoin(known.members, allocation, rangeOf)) known.members.push(allocation);
    else {
      const members = [allocation];
      const group = { job, step, inputs, allocations: members };
      open.set(key, { group, members });
      all.push(group);
    }
  }
  return all;
}

function byIndex(view: ClusterView, ids: Iterable<AllocationId>): Allocation[] {
  const found = [...ids].flatMap((id) => view.allocations.get(id) ?? []);
  return found.sort((left, right) => left.ref.index - right.ref.index);
}

/** Where a tag binds them, that was decided before. */
function mayJoin(
  members: readonly Allocation[],
  { mirror, nodeId, ref }: Allocation,
  rangeOf: (nodeId: NodeId) => ArrayRange,
): boolean {
  if (mirror) return true;
  const lowest = members[0]?.ref.index ?? ref.index;
  return members.length < MAX_ARRAY && fitsRange(rangeOf(nodeId), lowest, ref.index);
}

/** The offset that fresh attempts, by index, are to have at their site. */
export function offsetOfGroup(allocations: readonly Allocation[], range: ArrayRange): number {
  const indexes = allocations.map(({ ref }) => ref.index);
  return indexOffset(range, indexes[0] ?? 0, indexes.at(-1) ?? 0);
}

/** As the site has them. */
export function remoteIndexOf({ ref, mirror }: Allocation): number {
  return ref.index - (mirror?.indexOffset ?? 0);
}

/** In range notation, as the site has them. */
export function indexesOfGroup(allocations: readonly Allocation[]): string {
  const indexes = allocations.map(remoteIndexOf).sort((left, right) => left - right);
  return formatRanges(withIndexes([], indexes));
}

const DIGEST_LENGTH = 12;
const CLUSTER_LENGTH = 24;

/**
 * A name for the remote job that no other coordinator, and no other attempt of ours, has: also none of a history that
 * was lost with a disk, whose numbers are given again.
 */
export function tagFor(cluster: string, { ref, committedAt }: Allocation): string {
  const text = `${allocationIdOf(ref)} ${committedAt}`;
  const digest = createHash('sha256').update(text).digest('hex').slice(0, DIGEST_LENGTH);
  return `${cluster.slice(0, CLUSTER_LENGTH)}-${ref.jobId}-${digest}`;
}
