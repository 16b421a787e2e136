import type { StartOrder } from '../../shared/wire/messages.js';

type Variables = Readonly<Record<string, string>>;

/** CUDA's context and libraries take memory beside what a framework takes for itself. */
const FRAMEWORK_PART = 0.9;

/** The devices of a task and its part of them, as CUDA and the task itself read them; nobody may set them otherwise. */
export function gpuVariables({ gpus, gpuPart }: StartOrder): Variables {
  return {
    CUDA_VISIBLE_DEVICES: gpus.map(({ uuid }) => uuid).join(','),
    ...(gpuPart === null
      ? {}
      : { BERTH_GPU_SHARE: String(gpuPart.shareMillis / 1_000), BERTH_GPU_MEMORY_MIB: String(gpuPart.memoryMiB) }),
  };
}

/**
 * What makes programs that know nothing of Berth keep to their part of a shared device; a job may set them otherwise.
 *
 * JAX and TensorFlow take nearly all of a device unless told not to. The limits of CUDA's Multi-Process Service are
 * enforced where its daemon runs on the node, and mean nothing elsewhere. PyTorch has no variable that every version of
 * it understands.
 */
export function sharingHints({ gpus, gpuPart }: StartOrder): Variables {
  if (gpuPart === null) return {};
  const { shareMillis, memoryMiB } = gpuPart;
  const hints = {
    TF_FORCE_GPU_ALLOW_GROWTH: 'true',
    XLA_PYTHON_CLIENT_MEM_FRACTION: ((FRAMEWORK_PART * shareMillis) / 1_000).toFixed(3),
    CUDA_MPS_ACTIVE_THREAD_PERCENTAGE: String(Math.max(1, Math.floor(shareMillis / 10))),
  };
  if (memoryMiB === 0) return hints;
  const limits = gpus.map((_, ordinal) => `${ordinal}=${memoryMiB}M`);
  return { ...hints, CUDA_MPS_PINNED_DEVICE_MEM_LIMIT: limits.join(',') };
}
