import type { Clock } from '../../shared/clock.js';
import type { AllocationId } from '../../shared/ids.js';
import type { Report } from '../../shared/wire/messages.js';
import type { ReportedAttempt } from './attempt-context.js';

export interface ReportQueueOptions {
  readonly clock: Clock;
  /** Sends the reports; `acknowledged` is called when the coordinator has put them on disk. */
  readonly send: (reports: readonly Report[], acknowledged: () => void) => void;
  /** The coordinator has these ends. */
  readonly acknowledged: (allocationIds: readonly AllocationId[]) => void;
}

/** A busy node gathers its reports for so long after each message: every message costs both sides a commit. */
const REST_MS = 5;

/**
 * Reports of one connection: what changed while none was sent goes in one message, an attempt once with its newest
 * phase.
 *
 * It opens when the coordinator has answered the hello, which told the phases of that moment.
 */
export class ReportQueue {
  readonly #options: ReportQueueOptions;
  readonly #changed = new Map<AllocationId, ReportedAttempt>();
  #isOpen = false;
  #isFlushing = false;
  #restUntil = 0;

  constructor(options: ReportQueueOptions) {
    this.#options = options;
  }

  open(): void {
    this.#isOpen = true;
    this.#flushSoon();
  }

  /** Nothing is sent any more; the next connection's hello tells everything anew. */
  close(): void {
    this.#isOpen = false;
    this.#changed.clear();
  }

  changed(attempt: ReportedAttempt): void {
    this.#changed.set(attempt.id, attempt);
    if (this.#isOpen) this.#flushSoon();
  }

  forgotten(allocationId: AllocationId): void {
    this.#changed.delete(allocationId);
  }

  #flushSoon(): void {
    if (this.#isFlushing || this.#changed.size === 0) return;
    this.#isFlushing = true;
    const { clock } = this.#options;
    const restMs = this.#restUntil - clock.monotonic();
    const flush = (): void => {
      this.#isFlushing = false;
      if (this.#isOpen) this.#flush();
    };
    if (restMs > 0) clock.after(restMs, flush);
    else clock.soon(flush);
  }

  #flush(): void {
    this.#restUntil = this.#options.clock.monotonic() + REST_MS;
    const attempts = [...this.#changed.values()];
    this.#changed.clear();
    const ended = attempts.filter((attempt) => attempt.hasEnded).map(({ id }) => id);
    const reports = attempts.map((attempt) => attempt.report());
    if (reports.length > 0) this.#options.send(reports, () => this.#options.acknowledged(ended));
  }
}
