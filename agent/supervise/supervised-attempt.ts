import { assert } from '../../shared/assert.js';
import type { Clock } from '../../shared/clock.js';
import type { AllocationId } from '../../shared/ids.js';
import { stopFor } from '../../shared/job-spec/stop-for.js';
import type { Log } from '../../shared/log.js';
import type { AllocationEnd, StopReason } from '../../shared/outcome.js';
import { type Usage, usageOf } from '../../shared/usage.js';
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
import { ATTEMPT_TRANSITIONS, type Attempt, type AttemptPhase } from '../model/attempt.js';
import type { Staging } from '../staging/staging.js';
import type { AgentStore } from '../store/store.js';
import { endOf, heldPhase, missingSecret, NO_OUTPUT } from './attempts.js';
import { type DiskWatch, diskWatchFor } from './disk-watch.js';
import { afterFailedStaging, afterStaging, leavesFiles, type StagedEnd, type Stager, stagerFor } from './stager.js';
import { Timers } from './timers.js';

/** What the rest of the agent hears about attempts. */
export interface AttemptListener {
  /** Its phase is another one, and what has to be on disk is; `report` tells the newest. */
  changed(attempt: SupervisedAttempt): void;
  /** It may have output from now on. */
  launched(allocationId: AllocationId): void;
  /** Its output is whole. */
  ended(allocationId: AllocationId, output: OutputBytes): void;
}

export interface AttemptContext {
  readonly store: AgentStore;
  /** Absent where no attempt stages anything. */
  readonly staging?: Staging;
  readonly clock: Clock;
  readonly log: Log;
  readonly listener: AttemptListener;
}

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
const END_RETRY_MS = 1_000;
const KILL_RETRY_MS = 10_000;
/** Timers have a longest delay; a time limit may be longer. */
const MAX_DELAY_MS = 24 * 60 * 60 * 1000;
/** What keeping the files of an attempt may take that was stopped at its time limit. */
const STOPPED_STAGE_OUT_MS = 5 * 60 * 1000;

/**
 * Follows one attempt from its order to its end.
 *
 * The order of things is what makes it safe to die at any line: an order is on disk before anything starts (the
 * supervisor sees to that), the reason of a stop before the first signal, an end before it is reported.
 */
export class SupervisedAttempt {
  readonly id: AllocationId;
  readonly driver: TaskDriver | undefined;
  /** Resolves when the newest order of the coordinator about it is on disk. */
  saved: Promise<void> = Promise.resolve();
  /** The coordinator has its end. */
  isReported = false;
  /** The coordinator has all its output. */
  isShipped: boolean;
  readonly #context: AttemptContext;
  readonly #timers: Timers<'preparing' | 'time-limit' | 'grace' | 'retry'>;
  #record: Attempt;
  /** The order with the values of its secrets, which are in memory only, until it has started. */
  #granted: StartOrder | undefined;
  /** Times are of the monotonic clock. */
  #phaseSince: number;
  #startedAt: number | null = null;
  #launchedAt: number | null = null;
  #startTookMs = 0;
  #isLaunched = false;
  #isEnding = false;
  readonly #stager: Stager | undefined;
  readonly #diskWatch: DiskWatch | undefined;
  /** Its command is over; what it left is being kept. */
  #isConcluding = false;
  #isHalted = false;

  constructor(context: AttemptContext, record: Attempt, driver: TaskDriver | undefined) {
    this.#context = context;
    this.#record = record;
    this.id = record.allocationId;
    this.driver = driver;
    this.isShipped = record.driver === null;
    this.#phaseSince = context.clock.monotonic();
    this.#timers = new Timers(context.clock);
    this.#stager = stagerFor(record.order, context);
    const parts = { order: record.order, driver, stager: this.#stager, clock: context.clock };
    this.#diskWatch = diskWatchFor({ ...parts, exceeded: () => this.#diskIsUsedUp() });
  }

  get record(): Attempt {
    return this.#record;
  }

  get hasEnded(): boolean {
    return this.#record.phase.kind === 'ended';
  }

  /** False from the moment on at which its end is known, though perhaps not yet on disk. */
  get isLive(): boolean {
    return !this.hasEnded && !this.#isEnding;
  }

  held(): Held {
    const startedAgeMs = this.#startedAt === null ? {} : { startedAgeMs: Math.round(this.#now() - this.#startedAt) };
    return { ...this.report(), ...startedAgeMs };
  }

  report(): Report {
    const { phase } = this.#record;
    return {
      allocationId: this.id,
      phase: heldPhase(phase),
      ...(phase.kind === 'ended' ? { end: phase.end } : {}),
      ageMs: Math.round(this.#now() - this.#phaseSince),
    };
  }

  /** The coordinator's order, with what the record of it may not hold. A restarted agent is told again. */
  grant(order: StartOrder): void {
    if (this.#isLaunched || !this.isLive || this.#record.order === null) return;
    const secret = missingSecret(order);
    if (secret === undefined) this.#granted = order;
    else this.end({ kind: 'rejected', message: `its secret "${secret}" was removed` }, NO_OUTPUT);
  }

  /** Hands it to its driver; does nothing when that has been done, or when it is to stop. */
  launch(): void {
    const { order, stopReason } = this.#record;
    if (order === null || this.#isLaunched || !this.isLive || this.#isHalted) return;
    if (stopReason !== null) {
      this.#enforceStop();
      return;
    }
    const granted = this.#granted ?? order;
    // The sync that follows every hello brings the values.
    if (missingSecret(granted) !== undefined) return;
    this.#isLaunched = true;
    this.#launchedAt = this.#now();
    this.#timers.set('preparing', PREPARING_REPORT_MS, () => this.#context.listener.changed(this));
    this.#context.listener.launched(this.id);
    if (this.#stager) this.#stageIn(this.#stager, granted);
    else this.#tryStart(granted, 1);
  }

  /** Puts the reason on disk, then stops it. Idempotent: the first reason counts. */
  async requestStop(reason: StopReason): Promise<void> {
    if (!this.isLive) return;
    if (this.#record.stopReason !== null) return this.saved;
    this.#record = { ...this.#record, stopReason: reason };
    this.saved = this.#context.store.save({ put: [this.#record] });
    try {
      await this.saved;
    } catch (error) {
      this.#record = { ...this.#record, stopReason: null };
      this.saved = Promise.resolve();
      throw error;
    }
    if (!this.#isHalted) this.#enforceStop();
  }

  /** Goes on where an earlier process was. One that had not begun waits: it may be canceled by now. */
  takeUp(recovery: Recovery): void {
    if (!this.isLive) return;
    const { stopReason } = this.#record;
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
    this.#isEnding = true;
    this.#diskWatch?.stop();
    this.#granted = undefined;
    this.#timers.cancelAll();
    const reported = {
      ...{ end, ...output, ...this.#used(usage) },
      ...(image === undefined ? {} : { image }),
      ...(staging === undefined ? {} : { staging }),
    };
    const phase: AttemptPhase = { kind: 'ended', end: reported };
    this.#context.listener.ended(this.id, output);
    this.#keepEnd({ ...this.#record, order: null, phase }, this.#now());
  }

  /** The time that a start took is known to the process that saw all of it. */
  #used(usage: Usage): Pick<ReportedEnd, 'usage'> {
    const startedMs = this.#startTookMs - (usage.pulledMs ?? 0) - (this.#stager?.times.stagedInMs ?? 0);
    const used = usageOf({ startedMs, ...usage, ...this.#stager?.times });
    return used === undefined ? {} : { usage: used };
  }

  halt(): void {
    this.#isHalted = true;
    this.#diskWatch?.stop();
    this.#timers.cancelAll();
    this.#stager?.abort();
  }

  /** The time limit counts anew from the command's start; here it keeps a slow source from holding the node. */
  #stageIn(stager: Stager, granted: StartOrder): void {
    this.#watchTimeLimit(this.#now());
    stager.in(granted).then(
      (prepared) => {
        if (this.#isHalted || !this.isLive) return;
        this.#timers.cancel('time-limit');
        if (this.#record.stopReason !== null) this.#endUnstarted();
        else this.#tryStart(prepared, 1);
      },
      (error: unknown) => {
        if (this.#isHalted || !this.isLive) return;
        if (this.#record.stopReason !== null) this.#endUnstarted();
        else this.end({ kind: 'start-failed', message: textOf(error) }, NO_OUTPUT);
      },
    );
  }

  /** The command is over: what it left is kept before its end is said. */
  #conclude(result: DriverResult): void {
    if (this.#isConcluding) return;
    const { end: how, output } = result;
    const end = endOf(how, this.#record.stopReason);
    if (!this.#stager || !leavesFiles(end)) {
      this.end(end, output, result);
      return;
    }
    this.#isConcluding = true;
    this.#timers.cancel('grace');
    const stager = this.#stager;
    if (end.kind === 'stopped') this.#timers.set('time-limit', STOPPED_STAGE_OUT_MS, () => stager.abort());
    else this.#watchTimeLimit(this.#startedAt ?? this.#now());
    stager.out().then(
      (staged) => this.#endStaged(afterStaging(end, staged), result),
      (error: unknown) => {
        const { stopReason } = this.#record;
        const isCutOff = end.kind !== 'stopped' && stopReason !== null;
        this.#endStaged(isCutOff ? { end: endOf(how, stopReason) } : afterFailedStaging(end, error), result);
      },
    );
  }

  #endStaged({ end, staging }: StagedEnd, { output, usage, image }: DriverResult): void {
    if (this.#isHalted) return;
    this.end(end, output, {
      ...(usage === undefined ? {} : { usage }),
      ...(image === undefined ? {} : { image }),
      ...(staging === undefined ? {} : { staging }),
    });
  }

  #tryStart(order: PreparedOrder, tries: number): void {
    this.driver?.start(order).catch((error: unknown) => {
      if (this.#isHalted || !this.isLive) return;
      this.#warn('task could not be started', error);
      if (this.#record.stopReason !== null) this.#endUnstarted();
      else if (tries >= MAX_START_TRIES) this.end({ kind: 'start-failed', message: textOf(error) }, NO_OUTPUT);
      else this.#timers.set('retry', START_RETRY_MS * tries, () => this.#tryStart(order, tries + 1));
    });
  }

  #started(startedAgeMs: number): void {
    if (this.#startedAt !== null) return;
    this.#isLaunched = true;
    this.#granted = undefined;
    this.#startedAt = this.#now() - startedAgeMs;
    if (this.#launchedAt !== null) this.#startTookMs = this.#startedAt - this.#launchedAt;
    this.#timers.cancel('preparing');
    if (this.#record.phase.kind !== 'accepted') return;
    this.#enter({ kind: 'running' }, this.#startedAt);
    this.#context.listener.changed(this);
    this.#watchTimeLimit(this.#startedAt);
    this.#diskWatch?.start();
  }

  #watchTimeLimit(since: number): void {
    const limitMs = this.#record.order?.timeLimitMs ?? null;
    if (limitMs === null) return;
    const leftMs = Math.max(0, since + limitMs - this.#now());
    this.#timers.set('time-limit', Math.min(leftMs, MAX_DELAY_MS), () => {
      if (leftMs > MAX_DELAY_MS) this.#watchTimeLimit(since);
      else this.#timeIsUp();
    });
  }

  #timeIsUp(): void {
    this.requestStop('time-limit').catch((error: unknown) => {
      if (this.#isHalted) return;
      this.#warn('time limit could not be put on file', error);
      this.#timers.set('time-limit', END_RETRY_MS, () => this.#timeIsUp());
    });
  }

  /** What cannot be put on file now is found again by the next measurement. */
  #diskIsUsedUp(): void {
    if (this.#isConcluding) return;
    this.requestStop('disk').catch((error: unknown) => this.#warn('disk limit could not be put on file', error));
  }

  #enforceStop(): void {
    const { order, phase, stopReason } = this.#record;
    if (!this.isLive || order === null || stopReason === null) return;
    this.#timers.cancel('time-limit');
    this.#diskWatch?.stop();
    if (!this.#isLaunched) {
      this.#endUnstarted();
      return;
    }
    if (phase.kind !== 'stopping') this.#enter({ kind: 'stopping' }, this.#now());
    if (this.#stager?.isBusy) {
      this.#stager.abort();
      return;
    }
    const { signal, graceMs } = stopFor(order, stopReason);
    if (graceMs > 0) this.#signal(signal);
    this.#timers.set('grace', graceMs, () => this.#kill());
  }

  #kill(): void {
    this.#signal('SIGKILL');
    this.#timers.set('grace', KILL_RETRY_MS, () => this.#kill());
  }

  #signal(signal: string): void {
    this.driver?.signal(this.id, signal).catch((error: unknown) => this.#warn('signal failed', error));
  }

  #endUnstarted(): void {
    this.end({ kind: 'stopped', reason: this.#record.stopReason ?? 'stale', ranMs: 0 }, NO_OUTPUT);
  }

  /** Until the end is on disk it has not happened: the next process would find it again. */
  #keepEnd(record: Attempt, endedAt: number): void {
    this.#context.store.save({ put: [record] }).then(
      () => {
        if (this.#isHalted) return;
        this.#record = record;
        this.#phaseSince = endedAt;
        this.#context.listener.changed(this);
      },
      (error: unknown) => {
        if (this.#isHalted) return;
        this.#warn('end could not be put on file', error);
        this.#timers.set('retry', END_RETRY_MS, () => this.#keepEnd(record, endedAt));
      },
    );
  }

  #enter(phase: AttemptPhase, at: number): void {
    const from = this.#record.phase.kind;
    assert(ATTEMPT_TRANSITIONS[from].includes(phase.kind), `an attempt goes from ${from} to ${phase.kind}`);
    this.#record = { ...this.#record, phase };
    this.#phaseSince = at;
  }

  #warn(message: string, error: unknown): void {
    this.#context.log.warn(message, { allocationId: this.id, error: textOf(error) });
  }

  #now(): number {
    return this.#context.clock.monotonic();
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
