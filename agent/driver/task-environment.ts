import type { StartOrder } from '../../shared/wire/messages.js';

/** What every task's environment starts from; nothing of the agent's own environment is in it by itself. */
export interface TaskBase {
  readonly nodeName: string;
  readonly env: Readonly<Record<string, string>>;
  /** With GPUs on the node, a task that has none must not see any. */
  readonly hasGpus: boolean;
}

/** The variables that every task sees, whatever runs it. */
export function taskEnvironment(order: StartOrder, base: TaskBase): Record<string, string> {
  const hasDevices = order.gpus.length > 0;
  return {
    ...base.env,
    ...order.env,
    ...(hasDevices || base.hasGpus ? { CUDA_VISIBLE_DEVICES: order.gpus.map((gpu) => gpu.uuid).join(',') } : {}),
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
    ...gpuPartVariables(order),
  };
}

/** A share is the task's to keep: the device itself is not divided. */
function gpuPartVariables({ gpuPart }: StartOrder): Record<string, string> {
  if (gpuPart === null) return {};
  return { BERTH_GPU_SHARE: String(gpuPart.shareMillis / 1_000), BERTH_GPU_MEMORY_MIB: String(gpuPart.memoryMiB) };
}
