import { type BackoffPolicy, backoffMs } from '../../shared/backoff.js';
import type { Cancel, Clock, EpochMs } from '../../shared/clock.js';
import type { Random } from '../../shared/random.js';
import type { ClusterView } from '../model/state.js';
import type { Machine } from './provider.js';
import type { ProviderCalls } from './provider-calls.js';

export interface MachineWatchOptions {
  readonly view: ClusterView;
  readonly calls: ProviderCalls;
  readonly cluster: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Hears what a pool's provider has. */
  readonly seen: (pool: string, machines: readonly Machine[], askedAt: EpochMs) => Promise<void>;
}

/** While something is on its way there a provider is asked often, and less so the longer it takes. */
const LOOK: BackoffPolicy = { firstMs: 500, maxMs: 10_000, factor: 1.5 };
const LOOK_AT_REST_MS = 60_000;

interface Look {
  /** Looks in a row since something was ordered. */
  count: number;
  cancel: Cancel;
}

/** Asks every pool's provider again and again which machines it has. */
export class MachineWatch {
  readonly #options: MachineWatchOptions;
  readonly #looks = new Map<string, Look>();

  constructor(options: MachineWatchOptions) {
    this.#options = options;
  }

  /** Something has been ordered of the pool's provider, or the pool is new. */
  lookSoon(pool: string): void {
    this.#next(pool, 1);
  }

  stop(): void {
    for (const { cancel } of this.#looks.values()) cancel();
  }

  #next(pool: string, count: number): void {
    this.#looks.get(pool)?.cancel();
    const { clock, random } = this.#options;
    const pauseMs = count === 1 || this.#isMoving(pool) ? backoffMs(LOOK, count, random) : LOOK_AT_REST_MS;
    this.#looks.set(pool, { count, cancel: clock.after(pauseMs, () => void this.#look(pool)) });
  }

  /** Is there a machine that is expected to appear, to go or to park? */
  #isMoving(pool: string): boolean {
    for (const { pool: own, phase } of this.#options.view.instances.values()) {
      if (own === pool && (phase.kind === 'requested' || phase.kind === 'stopping')) return true;
    }
    return false;
  }

  async #look(pool: string): Promise<void> {
    const { view, calls, cluster, clock, seen } = this.#options;
    const spec = view.pools.get(pool)?.spec;
    if (!spec || calls.isStopped) {
      this.#looks.delete(pool);
      return;
    }
    const askedAt = clock.now();
    const { count } = this.#looks.get(pool) ?? { count: 1 };
    // A failure is remembered by `calls`, and the next look is the remedy.
    const machines = await calls
      .make(spec, (provider, signal) => provider.list(cluster, signal))
      .catch(() => undefined);
    if (machines) await seen(pool, machines, askedAt).catch(() => {});
    if (this.#looks.get(pool)?.count === count) this.#next(pool, count + 1);
  }
}
