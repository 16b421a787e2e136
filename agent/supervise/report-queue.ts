import type { Cancel, Clock } from '../../shared/clock.js';
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
 * What is not an end waits longer on a busy node, by so much for each report of the message before: a command that is
 * over meanwhile needs one report, not two.
 */
const HOLD_MS_PER_REPORT = 5;
const MAX_HOLD_MS = 50;

interface Waiting {
  readonly attempt: ReportedAttempt;
  readonly dueAt: number;
}

/**
 * Reports of one connection: what changed while none was sent goes in one message, an attempt once with its newest
 * phase.
 *
 * It opens when the coordinator has answered the hello, which told the phases of that moment.
 */
export class ReportQueue {
  readonly #options: ReportQueueOptions;
  readonly #changed = new Map<AllocationId, Waiting>();
  #isOpen = false;
  #sentAt = Number.NEGATIVE_INFINITY;
  /** Reports of the last message. */
  #sentCount = 0;
  #flushAt = Number.POSITIVE_INFINITY;
  #cancelFlush: Cancel = () => {};

  constructor(options: ReportQueueOptions) {
    this.#options = options;
  }

  open(): void {
    this.#isOpen = true;
    for (const { dueAt } of this.#changed.values()) this.#flushBy(dueAt);
  }

  /** Nothing is sent any more; the next connection's hello tells everything anew. */
  close(): void {
    this.#isOpen = false;
    this.#changed.clear();
  }

  changed(attempt: ReportedAttempt): void {
    const dueAt = this.#options.clock.monotonic() + (attempt.hasEnded ? 0 : this.#holdMs());
    this.#changed.set(attempt.id, { attempt, dueAt });
    if (this.#isOpen) this.#flushBy(dueAt);
  }

  forgotten(allocationId: AllocationId): void {
    this.#changed.delete(allocationId);
  }

  #holdMs(): number {
    const isIdle = this.#options.clock.monotonic() - this.#sentAt >= MAX_HOLD_MS;
    return isIdle ? 0 : Math.min(MAX_HOLD_MS, this.#sentCount * HOLD_MS_PER_REPORT);
  }

  /** Makes sure that a message goes at that time, or as soon after it as the rest allows. */
  #flushBy(dueAt: number): void {
    const { clock } = this.#options;
    const at = Math.max(dueAt, this.#sentAt + REST_MS);
    if (at >= this.#flushAt) return;
    this.#cancelFlush();
    this.#flushAt = at;
    const flush = (): void => {
      if (this.#flushAt === at) this.#flush();
    };
    const waitMs = at - clock.monotonic();
    if (waitMs > 0) this.#cancelFlush = clock.after(waitMs, flush);
    else clock.soon(flush);
  }

  #flush(): void {
    this.#flushAt = Number.POSITIVE_INFINITY;
    if (!this.#isOpen) return;
    const now = this.#options.clock.monotonic();
    const due = [...this.#changed.values()].filter(({ dueAt }) => dueAt <= now).map(({ attempt }) => attempt);
    if (due.length > 0) this.#send(due, now);
    for (const { dueAt } of this.#changed.values()) this.#flushBy(dueAt);
  }

  #send(attempts: readonly ReportedAttempt[], now: number): void {
    this.#sentAt = now;
    this.#sentCount = attempts.length;
    for (const { id } of attempts) this.#changed.delete(id);
    const ended = attempts.filter((attempt) => attempt.hasEnded).map(({ id }) => id);
    const reports = attempts.map((attempt) => attempt.report());
    this.#options.send(reports, () => this.#options.acknowledged(ended));
  }
}
