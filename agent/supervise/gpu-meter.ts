import type { AllocationId } from '../../shared/ids.js';
import type { Usage } from '../../shared/usage.js';
import type { StartOrder } from '../../shared/wire/messages.js';

/** Learns what attempts do with the GPUs that they hold. */
export interface GpuMeter {
  /** Its command runs. */
  begin(order: StartOrder): void;
  /** What it was seen to use since; nothing for one that holds none. It is forgotten. */
  end(allocationId: AllocationId): Usage;
}
