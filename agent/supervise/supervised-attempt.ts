import { messageOf } from '../../shared/errors.js';
import type { AllocationId } from '../../shared/ids.js';
import { stopFor } from '../../shared/job-spec/stop-for.js';
import type { AllocationEnd, StopReason } from '../../shared/outcome.js';
import type { Preparation } from '../../shared/preparation.js';
import type { Held, Report, ReportedEnd, StartOrder } from '../../shared/wire/messages.js';
import type { DriverEvent, Recovery, TaskDriver } from '../driver/driver.js';
import type { Attempt, AttemptPhase } from '../model/attempt.js';
import type { AttemptContext } from './attempt-context.js';
import { AttemptTimes } from './attempt-times.js';
import { heldPhase, missingSecret, NO_OUTPUT } from './attempts.js';
import { CommandStart } from './command-start.js';
import { Conclusion } from './conclusion.js';
import { type DiskWatch, diskWatchFor } from './disk-watch.js';
import { KeptAttempt } from './kept-attempt.js';
import { type Stager, stagerFor } from './stager.js';
import { StopSequence } from './stop-sequence.js';
import { TimeLimit } from './time-limit.js';
import { Timers } from './timers.js';

/** `preparing` is only worth a message when it lasts. */
const PREPARING_REPORT_MS = 200;

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
  readonly #timers: Timers<'preparing'>;
  readonly #timeLimit: TimeLimit;
  readonly #start: CommandStart;
  readonly #stop: StopSequence;
  /** The order with the values of its secrets, which are in memory only, until it has started. */
  #granted: StartOrder | undefined;
  #isLaunched = false;
  readonly #stager: Stager | undefined;
  readonly #diskWatch: DiskWatch | undefined;
  readonly #conclusion: Conclusion;
  #isHalted = false;

  constructor(context: AttemptContext, record: Attempt, driver: TaskDriver | undefined) {
    this.#context = context;
    this.#kept = new KeptAttempt(context.store, record);
    this.id = record.allocationId;
    this.driver = driver;
    this.isShipped = record.driver === null;
    this.#times = new AttemptTimes(context.clock);
    this.#timers = new Timers(context.clock);
    const { clock } = context;
    const warn = (message: string, error: unknown): void => this.#warn(message, error);
    const failed = (error: unknown): void => warn('signal failed', error);
    this.#stop = new StopSequence({ allocationId: this.id, driver, clock, failed });
    const limitMs = record.order?.timeLimitMs ?? null;
    this.#timeLimit = new TimeLimit({ limitMs, clock, isUp: () => this.requestStop('time-limit'), warn });
    this.#stager = stagerFor(record.order, context);
    this.#start = new CommandStart({
      ...{ driver, stager: this.#stager, clock, warn },
      goOn: (next) => this.#unlessStopped(next),
      staged: () => this.#timeLimit.cancel(),
      failed: (end) => this.end({ end, ...NO_OUTPUT }),
    });
    this.#conclusion = new Conclusion({
      ...{ stager: this.#stager, clock },
      stopReason: () => this.record.stopReason,
      keeping: (end) => this.#keepingFiles(end),
      ended: (end) => this.end(end),
    });
    const parts = { order: record.order, driver, stager: this.#stager, clock };
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
    else this.end({ end: { kind: 'rejected', message: `its secret "${secret}" was removed` }, ...NO_OUTPUT });
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
    // It counts anew from the command's start; here it keeps a slow source from holding the node.
    if (this.#stager) this.#timeLimit.watch(this.#times.now());
    this.#start.begin(granted);
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
      this.#conclusion.begin(recovery);
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
    else this.#conclusion.begin(event);
  }

  end(end: ReportedEnd): void {
    if (!this.isLive) return;
    this.#diskWatch?.stop();
    this.#granted = undefined;
    this.#cancelTimers();
    const { usage: counted, ...rest } = end;
    const usage = this.#times.usage({ ...counted, ...this.#context.gpuMeter?.end(this.id) }, this.#stager);
    this.#times.enterPhase();
    const saved = this.#kept.end(usage === undefined ? rest : { ...rest, usage });
    saved.catch((error: unknown) => this.#warn('end could not be put on file', error));
    this.#context.listener.ended(this.id, end);
    this.#context.listener.changed(this);
  }

  halt(): void {
    this.#isHalted = true;
    this.#diskWatch?.stop();
    this.#cancelTimers();
    this.#stager?.abort();
  }

  /** The start goes on unless the attempt has ended, or is to stop: then it ends here. */
  #unlessStopped(next: () => void): void {
    if (this.#isHalted || !this.isLive) return;
    if (this.record.stopReason !== null) this.#endUnstarted();
    else next();
  }

  /** The command needs no signal any more, and its time limit holds for what is left to do too. */
  #keepingFiles(end: AllocationEnd): void {
    this.#stop.cancel();
    if (end.kind !== 'stopped') this.#timeLimit.watch(this.#times.startedAt ?? this.#times.now());
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
    this.#timeLimit.watch(startedAt);
    this.#diskWatch?.start();
    if (this.record.order !== null) this.#context.gpuMeter?.begin(this.record.order);
  }

  /** What cannot be put on file now is found again by the next measurement. */
  #diskIsUsedUp(): void {
    if (this.#conclusion.isUnderWay) return;
    this.requestStop('disk').catch((error: unknown) => this.#warn('disk limit could not be put on file', error));
  }

  #enforceStop(): void {
    const { order, phase, stopReason } = this.record;
    if (!this.isLive || order === null || stopReason === null) return;
    this.#timeLimit.cancel();
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
    const reason = this.record.stopReason ?? 'stale';
    this.end({ end: { kind: 'stopped', reason, ranMs: 0 }, ...NO_OUTPUT });
  }

  #cancelTimers(): void {
    this.#timers.cancelAll();
    this.#timeLimit.cancel();
    this.#start.cancel();
    this.#conclusion.cancel();
    this.#stop.cancel();
  }

  #enter(phase: AttemptPhase, at: number): void {
    this.#kept.enter(phase);
    this.#times.enterPhase(at);
  }

  #warn(message: string, error: unknown): void {
    this.#context.log.warn(message, { allocationId: this.id, error: messageOf(error) });
  }
}
