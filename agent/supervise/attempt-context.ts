import type { Clock } from '../../shared/clock.js';
import type { AllocationId } from '../../shared/ids.js';
import type { Log } from '../../shared/log.js';
import type { Report } from '../../shared/wire/messages.js';
import type { OutputBytes } from '../driver/driver.js';
import type { Staging } from '../staging/staging.js';
import type { AgentStore } from '../store/store.js';
import type { GpuMeter } from './gpu-meter.js';

/** An attempt, as far as it is reported. */
export interface ReportedAttempt {
  readonly id: AllocationId;
  readonly hasEnded: boolean;
  report(): Report;
}

/** What the rest of the agent hears about attempts. */
export interface AttemptListener {
  /** Its phase is another one, and what has to be on disk is; `report` tells the newest. */
  changed(attempt: ReportedAttempt): void;
  /** It may have output from now on. */
  launched(allocationId: AllocationId): void;
  /** Its output is whole. */
  ended(allocationId: AllocationId, output: OutputBytes): void;
}

export interface AttemptContext {
  readonly store: AgentStore;
  /** Absent where no attempt stages anything. */
  readonly staging?: Staging;
  /** Absent where nobody looks at GPUs. */
  readonly gpuMeter?: GpuMeter;
  readonly clock: Clock;
  readonly log: Log;
  readonly listener: AttemptListener;
}
