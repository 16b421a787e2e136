import type { AllocationId } from '../../shared/ids.js';
import type { StagingRecord, StartOrder } from '../../shared/wire/messages.js';
import type { PreparedOrder } from '../driver/driver.js';

/** Brings files into an attempt's workspace before its command, and away from it afterwards. */
export interface Staging {
  /**
   * Makes the workspace, empty but for the inputs, with the volumes; the answer is what the driver is to start.
   * Begins anew each time, whatever an earlier try has left. Rejects at once when `signal` aborts.
   * Errors: `task-start-failed`, naming the input or volume, the value and a remedy; another try would not help.
   * `unreachable` for a volume whose server does not answer; another node may be luckier.
   */
  stageIn(order: StartOrder, signal: AbortSignal): Promise<PreparedOrder>;
  /**
   * Keeps the outputs at the coordinator; resolved means that it has them. Idempotent. Call it only when nothing of
   * the attempt is alive. Goes on trying while the coordinator is away; rejects at once when `signal` aborts.
   */
  stageOut(order: StartOrder, signal: AbortSignal): Promise<StagedOut>;
  /** Where the attempt's workspace is, or would be. */
  workspaceOf(allocationId: AllocationId): string;
  /** Deletes what other attempts than these have left. Call once, first. */
  recover(allocationIds: readonly AllocationId[]): Promise<void>;
  /** Deletes what the attempt has left. Idempotent; unknown is no error. */
  remove(allocationId: AllocationId): Promise<void>;
  /** Gives up what no attempt uses; they go on. Call once, last. */
  close(): Promise<void>;
}

export interface StagedOut {
  readonly record: StagingRecord;
  /** Why the attempt has failed although its command may have succeeded; null when it has not. */
  readonly failure: string | null;
}

export function needsStaging({ inputs, outputs, volumes }: StartOrder): boolean {
  return (inputs ?? outputs ?? volumes) !== undefined;
}
