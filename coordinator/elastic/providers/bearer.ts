import type { Clock } from '../../../shared/clock.js';

export interface Grant<Value> {
  readonly value: Value;
  readonly lifeMs: number;
}

/** No token is used in its last minute: the order that carries it takes a while. */
const SPARE_MS = 60_000;

/** A token that is asked for when it is needed, kept while it is good, and asked for once at a time. */
export class Bearer<Value> {
  readonly #clock: Clock;
  readonly #ask: (signal: AbortSignal) => Promise<Grant<Value>>;
  #asked: Promise<Grant<Value>> | undefined;
  #goodUntil = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, ask: (signal: AbortSignal) => Promise<Grant<Value>>) {
    this.#clock = clock;
    this.#ask = ask;
  }

  async get(signal: AbortSignal): Promise<Value> {
    if (this.#clock.monotonic() >= this.#goodUntil) this.forget();
    this.#asked ??= this.#begin(signal);
    return (await this.#asked).value;
  }

  /** It was refused: the next order asks for a new one. */
  forget(): void {
    this.#asked = undefined;
    this.#goodUntil = Number.POSITIVE_INFINITY;
  }

  async #begin(signal: AbortSignal): Promise<Grant<Value>> {
    const asked = this.#ask(signal);
    try {
      const grant = await asked;
      this.#goodUntil = this.#clock.monotonic() + Math.max(0, grant.lifeMs - SPARE_MS);
      return grant;
    } catch (error) {
      this.forget();
      throw error;
    }
  }
}
