import type { Refusal } from '../../shared/errors.js';
import type { PoolSpec } from '../../shared/pool.js';

/** Who rents the machines, as far as people see it. */
export interface MachineKeeper {
  /** Why a pool's provider does not do as told; undefined when it does, or has not been asked. */
  troubleOf(pool: string): string | undefined;
  /** Why there can be no provider with these settings; whether they work shows only when it is asked. */
  refuseProvider(spec: PoolSpec): Promise<Refusal | undefined>;
}
