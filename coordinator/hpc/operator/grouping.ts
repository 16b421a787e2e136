import { createHash } from 'node:crypto';
import { type AllocationId, allocationIdOf } from '../../../shared/ids.js';
import { formatRanges, withIndexes } from '../../../shared/ranges.js';
import type { InputOrder } from '../../../shared/wire/messages.js';
import { inputOrders } from '../../engine/input-orders.js';
import type { Allocation } from '../../model/allocation.js';
import type { Job, Step } from '../../model/job.js';
import type { ClusterView } from '../../model/state.js';

/** Attempts that are, or may become, one remote job. */
export interface Group {
  readonly job: Job;
  readonly step: Step;
  readonly inputs: readonly InputOrder[];
  readonly allocations: readonly Allocation[];
}

/** Slurm takes no more in one array unless its operator says so (MaxArraySize). */
const MAX_ARRAY = 1_000;

/**
 * Live attempts by the remote job that they belong to. Those with a tag stay together; of the others, tasks of one
 * step and attempt number with equal inputs become one array.
 */
export function groupsOf(view: ClusterView, ids: Iterable<AllocationId>): readonly Group[] {
  const open = new Map<string, { group: Group; members: Allocation[] }>();
  const all: Group[] = [];
  for (const id of ids) {
    const allocation = view.allocations.get(id);
    const job = allocation && view.jobs.get(allocation.ref.jobId);
    const step = allocation && job?.steps.get(allocation.ref.step);
    if (!job || !step || allocation.phase.kind === 'ended') continue;
    const { inputs = [] } = inputOrders(view, { job, step, index: allocation.ref.index });
    const { jobId, attempt } = allocation.ref;
    const key = allocation.mirror?.tag ?? JSON.stringify([jobId, step.name, attempt, inputs]);
    const known = open.get(key);
    if (known && known.members.length < MAX_ARRAY) known.members.push(allocation);
    else {
      const members = [allocation];
      const group = { job, step, inputs, allocations: members };
      open.set(key, { group, members });
      all.push(group);
    }
  }
  return all;
}

export function indexesOfGroup(allocations: readonly Allocation[]): string {
  const indexes = allocations.map(({ ref }) => ref.index).sort((left, right) => left - right);
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
