import type { Cancel, Clock } from '../clock.js';
import type { Channel } from './channel.js';
import { WIRE_LIMITS } from './limits.js';

/** Pings without an answer that are the end when the next one is due: with the time before the first, `deadAfterMs`. */
const MAX_SILENT_PINGS = WIRE_LIMITS.deadAfterMs / WIRE_LIMITS.pingEveryMs - 1;

/**
 * Asks the peer for signs of life, and says when it gives none.
 *
 * It counts pings, not time: a process that was stopped for a while must first read what waits for it.
 */
export class Liveness {
  readonly #channel: Channel;
  readonly #clock: Clock;
  readonly #silent: () => void;
  readonly #probes = new Set<(isAlive: boolean) => void>();
  #silentPings = 0;
  #cancelPing: Cancel;

  /** Pings until `stop`; calls `silent` at most once. */
  constructor(channel: Channel, clock: Clock, silent: () => void) {
    this.#channel = channel;
    this.#clock = clock;
    this.#silent = silent;
    this.#cancelPing = clock.after(WIRE_LIMITS.pingEveryMs, () => this.#ping());
  }

  /** Anything came from the peer. */
  signOfLife(): void {
    this.#silentPings = 0;
    for (const settle of [...this.#probes]) settle(true);
  }

  /** Whether the peer gives a sign of life within the time; false at once when stopped meanwhile. */
  probe(withinMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const cancel = this.#clock.after(withinMs, () => settle(false));
      const settle = (isAlive: boolean): void => {
        cancel();
        this.#probes.delete(settle);
        resolve(isAlive);
      };
      this.#probes.add(settle);
      this.#channel.ping();
    });
  }

  stop(): void {
    this.#cancelPing();
    for (const settle of [...this.#probes]) settle(false);
  }

  #ping(): void {
    if (this.#silentPings >= MAX_SILENT_PINGS) {
      this.#silent();
      return;
    }
    this.#silentPings += 1;
    this.#cancelPing = this.#clock.after(WIRE_LIMITS.pingEveryMs, () => this.#ping());
    this.#channel.ping();
  }
}
