import type { Clock } from '../../shared/clock.js';
import { isAppError, messageOf } from '../../shared/errors.js';
import type { StartOrder } from '../../shared/wire/messages.js';
import type { DriverEnd, PreparedOrder, TaskDriver } from '../driver/driver.js';
import type { Stager } from './stager.js';
import { Timers } from './timers.js';

const MAX_TRIES = 4;
const RETRY_MS = 1_000;

export interface CommandStartOptions {
  readonly driver: TaskDriver | undefined;
  /** Undefined where nothing has to be staged. */
  readonly stager: Stager | undefined;
  readonly clock: Clock;
  /** Goes on with the start, unless there is to be none any more. */
  readonly goOn: (next: () => void) => void;
  /** Its files are in place. */
  readonly staged: () => void;
  readonly failed: (end: DriverEnd) => void;
  readonly warn: (message: string, error: unknown) => void;
}

/** Brings an order to its driver: first its files, then some tries where the node has trouble of its own. */
export class CommandStart {
  readonly #options: CommandStartOptions;
  readonly #timers: Timers<'retry'>;

  constructor(options: CommandStartOptions) {
    this.#options = options;
    this.#timers = new Timers(options.clock);
  }

  begin(order: StartOrder): void {
    const { stager } = this.#options;
    if (stager) this.#stageIn(stager, order);
    else this.#try(order, 1);
  }

  cancel(): void {
    this.#timers.cancelAll();
  }

  #stageIn(stager: Stager, order: StartOrder): void {
    const { goOn, staged, failed } = this.#options;
    stager.in(order).then(
      (prepared) => {
        goOn(() => {
          staged();
          this.#try(prepared, 1);
        });
      },
      (error: unknown) => {
        const kind = isAppError(error, 'unreachable') ? 'rejected' : 'start-failed';
        goOn(() => failed({ kind, message: messageOf(error) }));
      },
    );
  }

  #try(order: PreparedOrder, tries: number): void {
    const { driver, goOn, failed, warn } = this.#options;
    driver?.start(order).catch((error: unknown) => {
      goOn(() => {
        warn('task could not be started', error);
        if (tries >= MAX_TRIES) failed({ kind: 'start-failed', message: messageOf(error) });
        else this.#timers.set('retry', RETRY_MS * tries, () => this.#try(order, tries + 1));
      });
    });
  }
}
