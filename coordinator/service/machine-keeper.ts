import type { Refusal } from '../../shared/errors.js';
import type { PoolSpec } from '../../shared/pool.js';
import type { LedgerEntry } from '../model/ledger.js';

/** Who rents the machines, as far as people see it. */
export interface MachineKeeper {
  /** Why a pool's provider does not do as told; undefined when it does, or has not been asked. */
  troubleOf(pool: string): string | undefined;
  /** Why there can be no provider with these settings; whether they work shows only when it is asked. */
  refuseProvider(spec: PoolSpec): Promise<Refusal | undefined>;
  /** What machines did, in the order of time; the oldest may be forgotten. */
  history(): readonly LedgerEntry[];
}
