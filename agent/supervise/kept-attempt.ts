import { assert } from '../../shared/assert.js';
import type { StopReason } from '../../shared/outcome.js';
import type { ReportedEnd } from '../../shared/wire/messages.js';
import { ATTEMPT_TRANSITIONS, type Attempt, type AttemptPhase } from '../model/attempt.js';
import type { AgentStore } from '../store/store.js';

/** The record of one attempt: what others ask of it is on disk first; how far its command has come need not be. */
export class KeptAttempt {
  /** Resolves when the newest order of the coordinator about it is on disk. */
  saved: Promise<void> = Promise.resolve();
  readonly #store: AgentStore;
  #record: Attempt;

  constructor(store: AgentStore, record: Attempt) {
    this.#store = store;
    this.#record = record;
  }

  get record(): Attempt {
    return this.#record;
  }

  /** The driver knows better after a restart: this is kept in memory only. */
  enter(phase: AttemptPhase): void {
    const from = this.#record.phase.kind;
    assert(ATTEMPT_TRANSITIONS[from].includes(phase.kind), `an attempt goes from ${from} to ${phase.kind}`);
    this.#record = { ...this.#record, phase };
  }

  /** Counts from now on, for whoever asks again meanwhile; rejects, and counts no more, when it gets on no disk. */
  async stop(reason: StopReason): Promise<void> {
    this.#record = { ...this.#record, stopReason: reason };
    this.saved = this.#store.save({ put: [this.#record] });
    try {
      await this.saved;
    } catch (error) {
      this.#record = { ...this.#record, stopReason: null };
      this.saved = Promise.resolve();
      throw error;
    }
  }

  /** Counts from now on: a next process that does not find it on disk is told it by the driver again. */
  async end(end: ReportedEnd): Promise<void> {
    this.#record = { ...this.#record, order: null, phase: { kind: 'ended', end } };
    await this.#store.save({ put: [this.#record], canWait: true });
  }
}
