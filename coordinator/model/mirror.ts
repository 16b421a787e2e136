import type { NodeId } from '../../shared/ids.js';
import type { TargetName } from '../../shared/job-spec/spec.js';
import type { Resources } from '../../shared/resources.js';
import type { Inventory } from '../../shared/wire/messages.js';

/**
 * Jobs that run on a remote batch system.
 *
 * A target is a node, `hpc/NAME`, whose agent is a part of the coordinator; an attempt there is an allocation like any
 * other: committed is submitting, preparing is queued there, running is running. What is more is that it has a tag,
 * which is on disk before the remote side hears of it, and by which the remote job is found again after a crash.
 */
export interface Mirrored {
  /** Several attempts of one step and number may be one remote array, and then share it. */
  readonly tag: string;
  /** What the indexes of its tasks are less by at the site than here; absent: nothing. */
  readonly indexOffset?: number;
  /** As the remote system names the job; null before it has said so. */
  readonly remoteId: string | null;
  /** As the system writes them; empty before it has any. */
  readonly nodes: string;
  /** How often the site has put it back into its queue. */
  readonly requeueCount: number;
}

const PREFIX = 'hpc/';

/** Nodes of agents have no slash in their names. */
export function isTarget(name: string): name is TargetName {
  return name.startsWith(PREFIX);
}

export function targetNode(target: TargetName): NodeId {
  return target as string as NodeId;
}

/** As small as can be: places are counted, and no quota of processors or memory is touched. */
export const PLACE_AT_TARGET: Resources = { cpuMillis: 1, memoryMiB: 1, diskMiB: 0 };

/** What a target offers: room for so many tasks at once. */
export function inventoryOf(target: TargetName, maxTasks: number): Inventory {
  const { cpuMillis, memoryMiB, diskMiB } = PLACE_AT_TARGET;
  const capacity = { cpuMillis: cpuMillis * maxTasks, memoryMiB: memoryMiB * maxTasks, diskMiB };
  return { capacity, gpus: [], labels: {}, attributes: {}, drivers: [target] };
}
