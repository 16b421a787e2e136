import type { Clock } from '../../shared/clock.js';
import type { StopReason } from '../../shared/outcome.js';
import type { ReportedEnd } from '../../shared/wire/messages.js';
import type { DriverEnd, EndFacts, OutputBytes } from '../driver/driver.js';
import { endOf } from './attempts.js';
import { keepOutputs, leavesFiles, type Stager } from './stager.js';
import { Timers } from './timers.js';

/** What keeping the files of an attempt may take that was stopped at its time limit. */
const STOPPED_STAGE_OUT_MS = 5 * 60 * 1000;

/** What a driver says of a command that is over. */
export interface DriverResult extends EndFacts {
  readonly end: DriverEnd;
  readonly output: OutputBytes;
}

export interface ConclusionOptions {
  /** Undefined where nothing is to be kept. */
  readonly stager: Stager | undefined;
  readonly clock: Clock;
  /** Why the attempt was asked to stop, as of now. */
  readonly stopReason: () => StopReason | null;
  /** What is left is being kept from now on; the command needs no signal any more. */
  readonly keeping: (end: ReportedEnd['end']) => void;
  readonly ended: (end: ReportedEnd) => void;
}

/** From the word of the driver that a command is over to the end of the attempt: what it left is kept before. */
export class Conclusion {
  readonly #options: ConclusionOptions;
  readonly #timers: Timers<'keeping'>;
  #isUnderWay = false;
  #isCanceled = false;

  constructor(options: ConclusionOptions) {
    this.#options = options;
    this.#timers = new Timers(options.clock);
  }

  get isUnderWay(): boolean {
    return this.#isUnderWay;
  }

  begin(result: DriverResult): void {
    if (this.#isUnderWay) return;
    const { stager, stopReason, ended } = this.#options;
    const { end: how, output, usage, image } = result;
    const end = endOf(how, stopReason());
    const facts = { ...output, ...(usage === undefined ? {} : { usage }), ...(image === undefined ? {} : { image }) };
    if (stager && leavesFiles(end)) this.#keep(stager, how, { end, ...facts });
    else ended({ end, ...facts });
  }

  /** Nothing more is told. */
  cancel(): void {
    this.#isCanceled = true;
    this.#timers.cancelAll();
  }

  #keep(stager: Stager, how: DriverEnd, reported: ReportedEnd): void {
    const { stopReason, keeping, ended } = this.#options;
    const { end } = reported;
    this.#isUnderWay = true;
    if (end.kind === 'stopped') this.#timers.set('keeping', STOPPED_STAGE_OUT_MS, () => stager.abort());
    keeping(end);
    const cutOffEnd = (): ReportedEnd['end'] | undefined => {
      const reason = stopReason();
      return end.kind !== 'stopped' && reason !== null ? endOf(how, reason) : undefined;
    };
    void keepOutputs(stager, end, cutOffEnd).then((staged) => {
      if (!this.#isCanceled) ended({ ...reported, ...staged });
    });
  }
}
