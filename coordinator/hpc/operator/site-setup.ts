import { type Clock, type EpochMs, sleep } from '../../../shared/clock.js';
import { asHpcError, type HpcBackend } from '../backend.js';

export const SETUP_LIMITS = {
  /** What is set up wrongly may be mended meanwhile. */
  checkAgainMs: 10_000,
  /** What is asked before a submission is waited for so long. */
  askMs: 5_000,
} as const;

/** How a site is set up, as its check tells. */
export class SiteSetup {
  readonly #backend: Pick<HpcBackend, 'check'>;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  #maxArraySize: number | null = null;
  #wasAsked = false;
  #checked: { readonly at: EpochMs; readonly found: Promise<string | undefined> } | undefined;

  constructor(backend: Pick<HpcBackend, 'check'>, clock: Clock, signal: AbortSignal) {
    this.#backend = backend;
    this.#clock = clock;
    this.#signal = signal;
  }

  /** What is set up wrongly; undefined when nothing is, or when that cannot be known now. */
  async fault(): Promise<string | undefined> {
    const { at, found } = this.#checked ?? { at: Number.NEGATIVE_INFINITY, found: undefined };
    if (found && this.#clock.now() - at < SETUP_LIMITS.checkAgainMs) return found;
    const check = this.#backend.check(this.#signal).then(
      ({ maxArraySize }) => {
        this.#maxArraySize = maxArraySize;
        return undefined;
      },
      (error: unknown) => {
        const { kind, message } = asHpcError(error, 'looking at the site');
        return kind === 'configuration' || kind === 'refused' ? message : undefined;
      },
    );
    this.#checked = { at: this.#clock.now(), found: check };
    return check;
  }

  /** As the site says; asked for once, and null while it is not known. */
  async maxArraySize(): Promise<number | null> {
    const isFirst = !this.#wasAsked;
    this.#wasAsked = true;
    if (isFirst) await Promise.race([this.fault(), sleep(this.#clock, SETUP_LIMITS.askMs)]);
    return this.#maxArraySize;
  }
}
