import { type Clock, type EpochMs, sleep } from '../../../shared/clock.js';
import type { Log } from '../../../shared/log.js';
import { asHpcError, type HpcBackend, type QueueEstimate, type UnsubmittedJob } from '../backend.js';
import { troubleWords } from '../mirror.js';
import type { HpcTarget } from '../target.js';

export interface OutlooksOptions {
  readonly target: HpcTarget;
  readonly backend: HpcBackend;
  readonly clock: Clock;
  readonly log: Log;
}

export const OUTLOOK_LIMITS = {
  /** What a site has said is believed for this long. */
  validMs: 30_000,
  /** Kinds of jobs that are asked about in one call. */
  jobsPerCall: 32,
  /** Kinds of jobs of which an estimate is kept. */
  kept: 1_000,
} as const;

interface Known {
  readonly at: EpochMs;
  /** Null where the system says nothing of the kind. */
  readonly estimate: QueueEstimate | null;
}

/**
 * What one account's batch system expects of jobs that have not been submitted. Jobs of one kind share an answer, and
 * however many kinds are asked for, there is one call a period at most.
 */
export class Outlooks {
  readonly #options: OutlooksOptions;
  readonly #known = new Map<string, Known>();
  readonly #wanted = new Map<string, UnsubmittedJob>();
  readonly #stop = new AbortController();
  #asking: Promise<void> | undefined;
  #askedAt: EpochMs = Number.NEGATIVE_INFINITY;
  /** Why the site could not be asked the last time. */
  #trouble: string | null = null;

  constructor(options: OutlooksOptions) {
    this.#options = options;
  }

  /** Who says what is to be expected. */
  get by(): string {
    return this.#options.backend.outlook?.by ?? this.#options.target.backend;
  }

  get trouble(): string | null {
    return this.#trouble;
  }

  of(job: UnsubmittedJob): QueueEstimate | null {
    return this.#known.get(kindOf(job))?.estimate ?? null;
  }

  /** Resolves when all of them have been asked about lately, whether the site answered or not. */
  async ask(jobs: readonly UnsubmittedJob[]): Promise<void> {
    const { clock } = this.#options;
    for (const job of jobs) {
      const kind = kindOf(job);
      while (!this.#stop.signal.aborted && (this.#known.get(kind)?.at ?? 0) + OUTLOOK_LIMITS.validMs <= clock.now()) {
        for (const each of jobs) this.#wanted.set(kindOf(each), each);
        this.#asking ??= this.#ask().finally(() => {
          this.#asking = undefined;
        });
        await this.#asking;
      }
    }
  }

  close(): void {
    this.#stop.abort();
  }

  async #ask(): Promise<void> {
    const { clock, target, backend, log } = this.#options;
    const waitMs = this.#askedAt + target.period.minMs - clock.now();
    if (waitMs > 0) await sleep(clock, waitMs);
    const asked = [...this.#wanted].slice(0, OUTLOOK_LIMITS.jobsPerCall);
    for (const [kind] of asked) this.#wanted.delete(kind);
    this.#askedAt = clock.now();
    let estimates: readonly QueueEstimate[] = [];
    try {
      const { signal } = this.#stop;
      if (backend.outlook)
        estimates = await backend.outlook.estimate(
          asked.map(([, each]) => each),
          signal,
        );
      else await backend.check(signal);
      this.#trouble = null;
    } catch (error) {
      const { kind, message } = asHpcError(error, 'asking when jobs would start');
      if (this.#trouble === null)
        log.warn('a site does not say when jobs would start', { target: target.name, kind, reason: message });
      this.#trouble = troubleWords({ kind, message });
    }
    const at = clock.now();
    for (const [position, [kind]] of asked.entries()) {
      this.#known.delete(kind);
      this.#known.set(kind, { at, estimate: estimates[position] ?? null });
    }
    for (const kind of this.#known.keys()) {
      if (this.#known.size <= OUTLOOK_LIMITS.kept) return;
      this.#known.delete(kind);
    }
  }
}

function kindOf({ script, options }: UnsubmittedJob): string {
  return JSON.stringify([options, script]);
}
