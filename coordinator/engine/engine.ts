import type { Cancel, Clock } from '../../shared/clock.js';
import { AppError, isAppError, type Refusal } from '../../shared/errors.js';
import type { Log } from '../../shared/log.js';
import type { scale } from '../elastic/policy.js';
import type { LoggedEvent } from '../model/events.js';
import type { MemoryLimits } from '../model/memory-limits.js';
import { serialize } from '../model/snapshot.js';
import type { ClusterView } from '../model/state.js';
import type { Outlook } from '../routing/outlook.js';
import type { RulePolicy } from '../rules/rule.js';
import type { PlanPolicy } from '../scheduler/plan.js';
import type { Pricing } from '../scheduler/worth/pricing.js';
import type { Store } from '../store/store.js';
import type { ArchiveReader, EngineHandle } from './handle.js';
import type { Effect, Input, Reply } from './inputs.js';
import { recover } from './recover.js';
import { Turn } from './turn.js';

export interface EngineOptions {
  readonly store: Store;
  /** MEMORY_LIMITS unless a test wants to see things leave. */
  readonly memory?: MemoryLimits;
  readonly clock: Clock;
  readonly log: Log;
  readonly rules: RulePolicy;
  readonly planning: PlanPolicy;
  readonly pricing: Pricing;
  /** Which machines to start and to let go; ours unless a simulation compares it with another. */
  readonly scale?: typeof scale;
  /** Of remote batch systems; nothing is known of any when absent. */
  readonly outlook?: Outlook;
  /** Does what follows for the world. Called only with effects whose events are on disk; must not throw. */
  readonly perform: (effects: readonly Effect[]) => void;
  /** The engine has stopped by itself: the store failed, or a bug was found. Only the log knows what is true. */
  readonly onFailure: (error: unknown) => void;
}

export const ENGINE_LIMITS = {
  /** Inputs that wait for their turn; beyond it callers are refused. */
  pendingInputs: 100_000,
  /** Inputs decided and appended as one batch. */
  inputsPerTurn: 1_000,
  /** A snapshot is taken after this many events, so that a restart replays at most about as many. */
  eventsPerSnapshot: 50_000,
} as const;

interface Pending {
  readonly inputs: readonly Input[];
  readonly resolve: (answers: readonly (Reply | Refusal)[]) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The one loop: decide, apply, append, emit.
 *
 * Inputs that arrive while a batch is being appended form the next one (group commit). Memory may run ahead of the
 * disk, the world may not: replies, effects and listeners wait for the append.
 */
export class Engine implements EngineHandle {
  readonly #options: EngineOptions;
  readonly #turn: Turn;
  readonly #listeners = new Set<(events: readonly LoggedEvent[]) => void>();
  #pending: Pending[] = [];
  #pendingCount = 0;
  #isRunning = false;
  #closed: AppError | undefined;
  #idle: Promise<void> = Promise.resolve();
  /** Up to where the newest snapshot, saved or being saved, reaches. */
  #snapshotSeq: number;
  #snapshotSaved: Promise<void> = Promise.resolve();
  #cancelAlarm: Cancel = () => {};

  private constructor(options: EngineOptions, turn: Turn, snapshotSeq: number) {
    this.#options = options;
    this.#turn = turn;
    this.#snapshotSeq = snapshotSeq;
  }

  /** Reads the log back and takes up the work. Throws what the store throws, which is closed then. */
  static async open(options: EngineOptions): Promise<Engine> {
    const { state, snapshotSeq } = await recover(options.store, options.memory);
    options.log.info('event log read back', { seq: state.lastSeq, snapshotSeq, jobCount: state.jobs.size });
    const engine = new Engine(options, new Turn(state, options), snapshotSeq);
    try {
      await engine.handle({ type: 'coordinatorStarted' });
      return engine;
    } catch (error) {
      await engine.close();
      throw error;
    }
  }

  /** The running state. It may be ahead of the disk: only effects and tests may look without `read`. */
  get view(): ClusterView {
    return this.#turn.view;
  }

  async handle(input: Input): Promise<Reply | Refusal> {
    const [answer] = await this.#enqueue([input]);
    return answer as Reply | Refusal;
  }

  async handleAll(inputs: readonly Input[]): Promise<void> {
    if (inputs.length > 0) await this.#enqueue(inputs);
  }

  async read<T>(look: (view: ClusterView) => T): Promise<T> {
    const seen = look(this.view);
    if (this.#closed) throw this.#closed;
    if (this.#isRunning) await this.#enqueue([]);
    return seen;
  }

  onCommitted(listener: (events: readonly LoggedEvent[]) => void): Cancel {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get archive(): ArchiveReader {
    return this.#options.store;
  }

  history(afterSeq: number, limit: number): Promise<readonly LoggedEvent[] | null> {
    return this.#options.store.read(afterSeq, limit);
  }

  /** Finishes what was accepted, takes a snapshot and closes the store. */
  async close(): Promise<void> {
    this.#closed ??= new AppError('shutting-down', 'the coordinator is stopping');
    this.#cancelAlarm();
    await this.#idle;
    if (this.#closed.code === 'shutting-down') this.#saveSnapshot();
    await this.#snapshotSaved;
    await this.#options.store.close();
  }

  #enqueue(inputs: readonly Input[]): Promise<readonly (Reply | Refusal)[]> {
    if (this.#closed) return Promise.reject(this.#closed);
    if (this.#pendingCount + inputs.length > ENGINE_LIMITS.pendingInputs) {
      return Promise.reject(new AppError('rate-limited', `${this.#pendingCount} inputs are waiting already`));
    }
    this.#pendingCount += inputs.length;
    return new Promise((resolve, reject) => {
      this.#pending.push({ inputs, resolve, reject });
      if (this.#isRunning) return;
      this.#isRunning = true;
      this.#idle = new Promise((rest) => this.#options.clock.soon(() => void this.#run().finally(rest)));
    });
  }

  async #run(): Promise<void> {
    try {
      while (this.#pending.length > 0 || this.#turn.mustPlan) await this.#runTurn(this.#takeBatch());
      this.#isRunning = false;
      this.#setAlarm();
    } catch (error) {
      this.#fail(error);
    }
  }

  #takeBatch(): Pending[] {
    const batch: Pending[] = [];
    for (let inputCount = 0; inputCount < ENGINE_LIMITS.inputsPerTurn; ) {
      const next = this.#pending.shift();
      if (!next) break;
      batch.push(next);
      inputCount += Math.max(1, next.inputs.length);
      this.#pendingCount -= next.inputs.length;
    }
    return batch;
  }

  async #runTurn(batch: readonly Pending[]): Promise<void> {
    try {
      const answers = batch.map(({ inputs }) => inputs.map((input) => this.#turn.take(input)));
      const { events, departures, effects } = this.#turn.finish();
      if (events.length > 0) await this.#options.store.append(events, departures);
      for (const [position, { resolve }] of batch.entries()) resolve(answers[position] ?? []);
      if (effects.length > 0) this.#options.perform(effects);
      if (events.length > 0) for (const listener of this.#listeners) listener(events);
    } catch (error) {
      for (const { reject } of batch) reject(error);
      throw error;
    }
    if (this.view.lastSeq - this.#snapshotSeq >= ENGINE_LIMITS.eventsPerSnapshot) this.#saveSnapshot();
  }

  /** In the background, beside further appends. A snapshot that fails costs time at the next start and nothing else. */
  #saveSnapshot(): void {
    const { store, log } = this.#options;
    const seq = this.view.lastSeq;
    if (seq === this.#snapshotSeq) return;
    this.#snapshotSeq = seq;
    const saving = store.saveSnapshot({ seq, body: serialize(this.view) });
    this.#snapshotSaved = saving.catch((error: unknown) => log.warn('snapshot could not be saved', { seq, error }));
  }

  #setAlarm(): void {
    this.#cancelAlarm();
    const at = this.#turn.nextDueAt;
    if (at === undefined || this.#closed) return;
    const { clock } = this.#options;
    // A timer may fire a little early by the wall clock; then it is simply set again.
    this.#cancelAlarm = clock.after(at - clock.now(), () => this.#enqueue([]).catch(() => {}));
  }

  #fail(error: unknown): void {
    this.#closed = isAppError(error)
      ? error
      : new AppError('internal', 'the engine stopped on a bug', { cause: error });
    this.#cancelAlarm();
    for (const { reject } of this.#pending.splice(0)) reject(this.#closed);
    this.#options.onFailure(error);
  }
}
