import { type Clock, sleep } from '../../../shared/clock.js';
import type { Log } from '../../../shared/log.js';
import type { RemoteWork } from './remote-work.js';

/** What is done beside all else: a step of one job, or one of these for all jobs. */
export type Errand = RemoteWork | 'look' | 'follow' | 'cancel tasks';

/** What the engine did not take is tried again after this. */
const PAUSE_MS = 1_000;

interface ErrandOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** After it nothing that fails is worth a word. */
  readonly signal: AbortSignal;
  readonly ended: () => void;
}

/** What of a site is under way, each thing once at a time. */
export class Errands {
  readonly #options: ErrandOptions;
  readonly #underWay = new Set<Errand>();

  constructor(options: ErrandOptions) {
    this.#options = options;
  }

  has(what: Errand): boolean {
    return this.#underWay.has(what);
  }

  /** Steps of jobs. */
  get stepCount(): number {
    return [...this.#underWay].filter((each) => typeof each === 'object').length;
  }

  /** Does it beside all else, unless it is under way already. */
  begin(what: Errand, act: () => Promise<void>): void {
    if (this.#underWay.has(what)) return;
    this.#underWay.add(what);
    const { clock, log, signal, ended } = this.#options;
    void act()
      .catch(async (error: unknown) => {
        // The engine takes nothing now: it is closing, or has too much to do.
        if (signal.aborted) return;
        log.warn('remote jobs could not be looked after', { error });
        await sleep(clock, PAUSE_MS);
      })
      .finally(() => {
        this.#underWay.delete(what);
        ended();
      });
  }
}
