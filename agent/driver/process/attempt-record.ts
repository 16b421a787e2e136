import type { AllocationId } from '../../../shared/ids.js';
import { type Usage, usageOf } from '../../../shared/usage.js';
import type { DriverEnd } from '../driver.js';
import type { Leavings } from './current-files.js';
import type { Run } from './ledger.js';
import type { LedgerFile } from './ledger-file.js';

/** What the driver knows of an attempt, from its start until it is removed. */
export interface AttemptRecord {
  readonly id: AllocationId;
  readonly ledger: LedgerFile;
  /** Null until its worker has written that it runs. */
  run: Run | null;
  /** Null while it runs. */
  end: DriverEnd | null;
  /** CPU time of its processes that were waited for, once it has ended; undefined where nobody knows. */
  cpuMs: number | undefined;
  /** What it left, once nothing of it is alive any more; only then is the end reported. Until then null. */
  leavings: Leavings | null;
  /** Called at each of these changes. */
  readonly waiters: Set<() => void>;
}

export function newRecord(id: AllocationId, ledger: LedgerFile): AttemptRecord {
  ledger.attempts.add(id);
  return { id, ledger, run: null, end: null, cpuMs: undefined, leavings: null, waiters: new Set() };
}

export function tellWaiters(record: AttemptRecord): void {
  for (const waiter of [...record.waiters]) waiter();
}

export function usedBy({ cpuMs }: AttemptRecord): Usage {
  return usageOf({ cpuMs }) ?? {};
}
