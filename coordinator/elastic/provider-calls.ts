import type { Clock } from '../../shared/clock.js';
import { Gate } from '../../shared/gate.js';
import type { Log, LogFields } from '../../shared/log.js';
import type { PoolSpec } from '../../shared/pool.js';
import { type InstanceProvider, ProviderError } from './provider.js';

export interface ProviderCallOptions {
  /** Makes, or has made already, the provider of a pool. Rejects with `ProviderError('configuration')`. */
  readonly providerOf: (spec: PoolSpec) => Promise<InstanceProvider>;
  readonly clock: Clock;
  readonly log: Log;
}

const CALL_LIMITS = {
  /** A provider that has not answered by then is taken for one that cannot be reached. */
  answerMs: 240_000,
  /** Calls under way at once, over all providers. */
  calls: 16,
} as const;

/** Calls to providers: not too many at once, none for ever, and what went wrong is remembered by pool. */
export class ProviderCalls {
  readonly #options: ProviderCallOptions;
  readonly #gate = new Gate(CALL_LIMITS.calls);
  readonly #stop = new AbortController();
  /** Why a pool's provider does not do as told: the newest word, until it does. */
  readonly #troubles = new Map<string, string>();

  constructor(options: ProviderCallOptions) {
    this.#options = options;
  }

  get isStopped(): boolean {
    return this.#stop.signal.aborted;
  }

  stop(): void {
    this.#stop.abort();
  }

  troubleOf(pool: string): string | undefined {
    return this.#troubles.get(pool);
  }

  /** Rejects with `ProviderError`. */
  async make<T>(
    spec: PoolSpec,
    call: (provider: InstanceProvider, signal: AbortSignal) => Promise<T>,
    context: LogFields = {},
  ): Promise<T> {
    try {
      const answer = await this.#gate.pass(async () => {
        const provider = await this.#options.providerOf(spec);
        return this.#withDeadline((signal) => call(provider, signal));
      });
      this.#troubles.delete(spec.name);
      return answer;
    } catch (error) {
      throw this.#noted(spec.name, error, context);
    }
  }

  #noted(pool: string, error: unknown, context: LogFields): ProviderError {
    const known = error instanceof ProviderError ? error : new ProviderError('unavailable', messageOf(error), error);
    if (this.isStopped) return known;
    const { fault, message: reason } = known;
    this.#troubles.set(pool, `${fault}: ${reason}`);
    this.#options.log.warn('provider did not do as told', { pool, ...context, fault, reason });
    return known;
  }

  #withDeadline<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const deadline = new AbortController();
    return new Promise<T>((resolve, reject) => {
      const cancel = this.#options.clock.after(CALL_LIMITS.answerMs, () => {
        deadline.abort();
        reject(new ProviderError('unavailable', `no answer within ${CALL_LIMITS.answerMs / 1_000} s`));
      });
      work(AbortSignal.any([this.#stop.signal, deadline.signal]))
        .then(resolve, reject)
        .finally(cancel);
    });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
