import { backoffMs } from '../../shared/backoff.js';
import type { Clock } from '../../shared/clock.js';
import { CODES, isAppError } from '../../shared/errors.js';
import { type Context, remark } from './context.js';

const RECONNECT = { firstMs: 200, maxMs: 5_000, factor: 2 };

/** True when the same request may succeed later: the coordinator restarts, or is busy. */
export function isPassing(error: unknown): boolean {
  return isAppError(error) && CODES[error.code].retryable;
}

export interface Patience {
  readonly signal?: AbortSignal;
  /** How long after the first failure this one may still be tried again; for ever by default. */
  limitMs?(error: unknown): number;
  /** Says nothing: another effort beside this one tells the person. */
  readonly isSilent?: true;
}

/**
 * Repeats `attempt` while the coordinator is away, with growing pauses and one remark to the person.
 *
 * Throws: what `attempt` threw when it is final or the limit has passed; the signal's reason when aborted.
 */
export async function untilAnswered<T>(
  context: Context,
  attempt: () => Promise<T>,
  patience: Patience = {},
): Promise<T> {
  const reconnecting = new Reconnecting(context, patience);
  for (;;) {
    try {
      const answer = await attempt();
      reconnecting.succeeded();
      return answer;
    } catch (error) {
      await reconnecting.failed(error);
    }
  }
}

/** The state of one effort to reach the coordinator again; shared by requests and streams. */
export class Reconnecting {
  readonly #context: Context;
  readonly #patience: Patience;
  #failureCount = 0;
  #failingSince = 0;
  #isRemarked: boolean;

  constructor(context: Context, patience: Patience = {}) {
    this.#context = context;
    this.#patience = patience;
    this.#isRemarked = patience.isSilent ?? false;
  }

  /** Waits before the next try. Throws the error when it is final, or the abort's reason. */
  async failed(error: unknown): Promise<void> {
    const { clock, random } = this.#context;
    const { signal } = this.#patience;
    signal?.throwIfAborted();
    if (!isPassing(error)) throw error;
    if (this.#failureCount === 0) this.#failingSince = clock.monotonic();
    this.#failureCount += 1;
    const limitMs = this.#patience.limitMs?.(error) ?? Number.POSITIVE_INFINITY;
    const pauseMs = backoffMs(RECONNECT, this.#failureCount, random);
    if (clock.monotonic() - this.#failingSince + pauseMs > limitMs) throw error;
    if (!this.#isRemarked) remark(this.#context, `${(error as Error).message}; trying again`);
    this.#isRemarked = true;
    await pause(clock, pauseMs, signal);
  }

  /** The coordinator answered: pauses start small again. The remark is not repeated within one command. */
  succeeded(): void {
    this.#failureCount = 0;
  }
}

/** Resolves after `delayMs`; throws the signal's reason as soon as it is aborted. */
export function pause(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = (): void => {
      cancel();
      reject(signal?.reason);
    };
    const cancel = clock.after(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
