import type { StartOrder } from '../../shared/wire/messages.js';
import { gpuVariables, sharingHints } from './gpu-environment.js';

/** What every task's environment starts from; nothing of the agent's own environment is in it by itself. */
export interface TaskBase {
  readonly nodeName: string;
  readonly env: Readonly<Record<string, string>>;
  /** With GPUs on the node, a task that has none must not see any. Asked at each start: GPUs come and go. */
  readonly hasGpus: () => boolean;
}

/** The variables that every task sees, whatever runs it. */
export function taskEnvironment(order: StartOrder, base: TaskBase): Record<string, string> {
  const devices = order.gpus.length > 0 || base.hasGpus() ? gpuVariables(order) : {};
  const own = {
    BERTH_JOB_ID: order.jobId,
    BERTH_JOB_NAME: order.jobName,
    BERTH_TASK_ID: order.taskId,
    BERTH_TASK_INDEX: String(order.index),
    BERTH_TASK_COUNT: String(order.taskCount),
    BERTH_STEP: order.step,
    BERTH_ATTEMPT: String(order.attempt),
    BERTH_ALLOCATION_ID: order.allocationId,
    BERTH_NODE: base.nodeName,
    BERTH_CPUS: String(order.resources.cpuMillis / 1_000),
    BERTH_MEMORY_MIB: String(order.resources.memoryMiB),
  };
  // Not `{ ...base.env, ... }`: that takes seven times as long, and there is one of these for each task.
  return Object.assign({}, base.env, sharingHints(order), order.env, devices, own, gangVariables(order));
}

function gangVariables({ gang }: StartOrder): Record<string, string> {
  if (gang === undefined) return {};
  return { BERTH_RANK: String(gang.rank), BERTH_SIZE: String(gang.size), BERTH_PEERS: gang.peers.join(',') };
}
