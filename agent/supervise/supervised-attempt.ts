import { isAppError } from '../../shared/errors.js';
import type { AllocationId } from '../../shared/ids.js';
import { stopFor } from '../../shared/job-spec/stop-for.js';
import type { AllocationEnd, StopReason } from '../../shared/outcome.js';
import type { Preparation } from '../../shared/preparation.js';
import type { Held, Report, ReportedEnd, StartOrder } from '../../shared/wire/messages.js';
import type {
  DriverEnd,
  DriverEvent,
  EndFacts,
  OutputBytes,
  PreparedOrder,
  Recovery,
  TaskDriver,
} from '../driver/driver.js';
import type { Attempt, AttemptPhase } from '../model/attempt.js';
import type { AttemptContext } from './attempt-context.js';
import { AttemptTimes } from './attempt-times.js';
import { endOf, heldPhase, missingSecret, NO_OUTPUT } from './attempts.js';
import { type DiskWatch, diskWatchFor } from './disk-watch.js';
import { KeptAttempt } from './kept-attempt.js';
import { keepOutputs, leavesFiles, type Stager, stagerFor } from './stager.js';
import { StopSequence } from './stop-sequence.js';
import { Timers } from './timers.js';

/** What a driver says of a command that is over. */
interface DriverResult extends EndFacts {
  readonly end: DriverEnd;
  readonly output: OutputBytes;
}

type EndDetails = Pick<ReportedEnd, 'usage' | 'image' | 'staging'>;

/** `preparing` is only worth a message when it lasts. */
const PREPARING_REPORT_MS = 200;
const MAX_START_TRIES = 4;
const START_RETRY_MS = 1_000;
const STOP_RETRY_MS = 1_000;
/** What keeping the files of an attempt may take that was stopped at its time limit. */
const STOPPED_STAGE_OUT_MS = 5 * 60 * 1000;

/**
 * Follows one attempt from its order to its end.
 *
 * The order of things is what makes it safe to die at any line: an order is on disk before anything starts (the
 * supervisor sees to that), the reason of a stop before the first signal. An end need not be when it is told, since the
 * driver keeps it until the coordinator has it.
 */
export class SupervisedAttempt {
  readonly id: AllocationId;
  readonly driver: TaskDriver | undefined;
  /** The coordinator has its end. */
  isReported = false;
  /** The coordinator has all its output. */
  isShipped: boolean;
  readonly #context: AttemptContext;
  readonly #kept: KeptAttempt;
  readonly #times: AttemptTimes;
  readonly #timers: Timers<'preparing' | 'time-limit' | 'retry'>;
  readonly #stop: StopSequence;
  /** The order with the values of its secrets, which are in memory only, until it has started. */
  #granted: StartOrder | undefined;
  #isLaunched = false;
  readonly #stager: Stager | undefined;
  readonly #diskWatch: DiskWatch | undefined;
  /** Its command is over; what it left is being kept. */
  #isConcluding = false;
  #isHalted = false;

  constructor(context: AttemptContext, record: Attempt, driver: TaskDriver | undefined) {
    this.#context = context;
    this.#kept = new KeptAttempt(context.store, record);
    this.id = record.allocationId;
    this.driver = driver;
    this.isShipped = record.driver === null;
    this.#times = new AttemptTimes(context.clock);
    this.#timers = new Timers(context.clock);
    const failed = (error: unknown): void => this.#warn('signal failed', error);
    this.#stop = new StopSequence({ allocationId: this.id, driver, clock: context.clock, failed });
    this.#stager = stagerFor(record.order, context);
    const parts = { order: record.order, driver, stager: this.#stager, clock: context.clock };
    this.#diskWatch = diskWatchFor({ ...parts, exceeded: () => this.#diskIsUsedUp() });
  }

  get record(): Attempt {
    return this.#kept.record;
  }

  /** Resolves when the newest order of the coordinator about it is on disk. */
  get saved(): Promise<void> {
    return this.#kept.saved;
  }

  /** It is new, and will be on disk. */
  savedWith(saved: Promise<void>): void {
    this.#kept.saved = saved;
  }

  get hasEnded(): boolean {
    return this.record.phase.kind === 'ended';
  }

  get isLive(): boolean {
    return !this.hasEnded;
  }

  /** Why its command cannot start yet; undefined when nothing that lasts is in its way. */
  get preparation(): Preparation | undefined {
    if (this.record.phase.kind !== 'accepted' || !this.#isLaunched) return undefined;
    return this.#stager?.isBusy ? { kind: 'staging' } : this.driver?.preparations?.of(this.id);
  }

  held(): Held {
    const { startedAt } = this.#times;
    const startedAgeMs = startedAt === null ? {} : { startedAgeMs: Math.round(this.#times.now() - startedAt) };
    return { ...this.report(), ...startedAgeMs };
  }

  report(): Report {
    const { phase } = this.record;
    return {
      allocationId: this.id,
      phase: heldPhase(phase),
      ...(phase.kind === 'ended' ? { end: phase.end } : {}),
      ageMs: this.#times.phaseAgeMs,
    };
  }

  /** The coordinator's order, with what the record of it may not hold. A restarted agent is told again. */
  grant(order: StartOrder): void {
    if (this.#isLaunched || !this.isLive || this.record.order === null) return;
    const secret = missingSecret(order);
    if (secret === undefined) this.#granted = order;
    else this.end({ kind: 'rejected', message: `its secret "${secret}" was removed` }, NO_OUTPUT);
  }

  /** Hands it to its driver; does nothing when that has been done, or when it is to stop. */
  launch(): void {
    const { order, stopReason } = this.record;
    if (order === null || this.#isLaunched || !this.isLive || this.#isHalted) return;
    if (stopReason !== null) {
      this.#enforceStop();
      return;
    }
    const granted = this.#granted ?? order;
    // The sync that follows every hello brings the values.
    if (missingSecret(granted) !== undefined) return;
    this.#isLaunched = true;
    this.#times.launched();
    this.#timers.set('preparing', PREPARING_REPORT_MS, () => this.#context.listener.changed(this));
    this.#context.listener.launched(this.id);
    if (this.#stager) this.#stageIn(this.#stager, granted);
    else this.#tryStart(granted, 1);
  }

  /** Puts the reason on disk, then stops it. Idempotent: the first reason counts. */
  async requestStop(reason: StopReason): Promise<void> {
    if (!this.isLive) return;
    if (this.record.stopReason !== null) return this.saved;
    await this.#kept.stop(reason);
    if (!this.#isHalted) this.#enforceStop();
  }

  /** Goes on where an earlier process was. One that had not begun waits: it may be canceled by now. */
  takeUp(recovery: Recovery): void {
    if (!this.isLive) return;
    const { stopReason } = this.record;
    if (recovery.kind === 'ended') {
      this.#conclude(recovery);
      return;
    }
    if (recovery.kind === 'running') {
      this.#started(recovery.startedAgeMs);
      this.#context.listener.launched(this.id);
    }
    if (stopReason !== null) this.#enforceStop();
  }

  driverEvent(event: DriverEvent): void {
    if (!this.isLive || this.#isHalted) return;
    if (event.kind === 'started') this.#started(0);
    else this.#conclude(event);
  }

  end(end: AllocationEnd, output: OutputBytes, { usage = {}, image, staging }: EndDetails = {}): void {
    if (!this.isLive) return;
    this.#diskWatch?.stop();
    this.#granted = undefined;
    this.#timers.cancelAll();
    this.#stop.cancel();
    const used = this.#times.usage({ ...usage, ...this.#context.gpuMeter?.end(this.id) }, this.#stager);
    const reported = {
      ...{ end, ...output },
      ...(used === undefined ? {} : { usage: used }),
      ...(image === undefined ? {} : { image }),
      ...(staging === undefined ? {} : { staging }),
    };
    this.#times.enterPhase();
    this.#kept.end(reported).catch((error: unknown) => this.#warn('end could not be put on file', error));
    this.#context.listener.ended(this.id, output);
    this.#context.listener.changed(this);
  }

  halt(): void {
    this.#isHalted = true;
    this.#diskWatch?.stop();
    this.#timers.cancelAll();
    this.#stop.cancel();
    this.#stager?.abort();
  }

  /** The time limit counts anew from the command's start; here it keeps a slow source from holding the node. */
  #stageIn(stager: Stager, granted: StartOrder): void {
    this.#watchTimeLimit(this.#times.now());
    const goOn = (next: () => void): void => {
      if (this.#isHalted || !this.isLive) return;
      if (this.record.stopReason !== null) this.#endUnstarted();
      else next();
    };
    stager.in(granted).then(
      (prepared) => {
        goOn(() => {
          this.#timers.cancel('time-limit');
          this.#tryStart(prepared, 1);
        });
      },
      (error: unknown) => {
        const kind = isAppError(error, 'unreachable') ? 'rejected' : 'start-failed';
        goOn(() => this.end({ kind, message: textOf(error) }, NO_OUTPUT));
      },
    );
  }

  /** The command is over: what it left is kept before its end is said. */
  #conclude(result: DriverResult): void {
    if (this.#isConcluding) return;
    const { end: how, output } = result;
    const end = endOf(how, this.record.stopReason);
    if (!this.#stager || !leavesFiles(end)) {
      this.end(end, output, result);
      return;
    }
    this.#isConcluding = true;
    this.#stop.cancel();
    const stager = this.#stager;
    if (end.kind === 'stopped') this.#timers.set('time-limit', STOPPED_STAGE_OUT_MS, () => stager.abort());
    else this.#watchTimeLimit(this.#times.startedAt ?? this.#times.now());
    const cutOffEnd = (): AllocationEnd | undefined => {
      const { stopReason } = this.record;
      return end.kind !== 'stopped' && stopReason !== null ? endOf(how, stopReason) : undefined;
    };
    void keepOutputs(stager, end, cutOffEnd).then((staged) => {
      if (this.#isHalted) return;
      const { usage, image } = result;
      this.end(staged.end, output, {
        ...(usage === undefined ? {} : { usage }),
        ...(image === undefined ? {} : { image }),
        ...(staged.staging === undefined ? {} : { staging: staged.staging }),
      });
    });
  }

  #tryStart(order: PreparedOrder, tries: number): void {
    this.driver?.start(order).catch((error: unknown) => {
      if (this.#isHalted || !this.isLive) return;
      this.#warn('task could not be started', error);
      if (this.record.stopReason !== null) this.#endUnstarted();
      else if (tries >= MAX_START_TRIES) this.end({ kind: 'start-failed', message: textOf(error) }, NO_OUTPUT);
      else this.#timers.set('retry', START_RETRY_MS * tries, () => this.#tryStart(order, tries + 1));
    });
  }

  #started(startedAgeMs: number): void {
    if (this.#times.startedAt !== null) return;
    this.#isLaunched = true;
    this.#granted = undefined;
    const startedAt = this.#times.started(startedAgeMs);
    this.#timers.cancel('preparing');
    if (this.record.phase.kind !== 'accepted') return;
    this.#enter({ kind: 'running' }, startedAt);
    this.#context.listener.changed(this);
    this.#watchTimeLimit(startedAt);
    this.#diskWatch?.start();
    if (this.record.order !== null) this.#context.gpuMeter?.begin(this.record.order);
  }

  #watchTimeLimit(since: number): void {
    const limitMs = this.record.order?.timeLimitMs ?? null;
    if (limitMs === null) return;
    const leftMs = Math.max(0, since + limitMs - this.#times.now());
    this.#timers.set('time-limit', leftMs, () => this.#timeIsUp());
  }

  #timeIsUp(): void {
    this.requestStop('time-limit').catch((error: unknown) => {
      if (this.#isHalted) return;
      this.#warn('time limit could not be put on file', error);
      this.#timers.set('time-limit', STOP_RETRY_MS, () => this.#timeIsUp());
    });
  }

  /** What cannot be put on file now is found again by the next measurement. */
  #diskIsUsedUp(): void {
    if (this.#isConcluding) return;
    this.requestStop('disk').catch((error: unknown) => this.#warn('disk limit could not be put on file', error));
  }

  #enforceStop(): void {
    const { order, phase, stopReason } = this.record;
    if (!this.isLive || order === null || stopReason === null) return;
    this.#timers.cancel('time-limit');
    this.#diskWatch?.stop();
    if (!this.#isLaunched) {
      this.#endUnstarted();
      return;
    }
    if (phase.kind !== 'stopping') this.#enter({ kind: 'stopping' }, this.#times.now());
    if (this.#stager?.isBusy) {
      this.#stager.abort();
      return;
    }
    this.#stop.begin(stopFor(order, stopReason));
  }

  #endUnstarted(): void {
    this.end({ kind: 'stopped', reason: this.record.stopReason ?? 'stale', ranMs: 0 }, NO_OUTPUT);
  }

  #enter(phase: AttemptPhase, at: number): void {
    this.#kept.enter(phase);
    this.#times.enterPhase(at);
  }

  #warn(message: string, error: unknown): void {
    this.#context.log.warn(message, { allocationId: this.id, error: textOf(error) });
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
