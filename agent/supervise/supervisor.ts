import type { Clock } from '../../shared/clock.js';
import type { AllocationId } from '../../shared/ids.js';
import type { DriverName } from '../../shared/job-spec/spec.js';
import type { Log } from '../../shared/log.js';
import type { AttemptPreparation } from '../../shared/preparation.js';
import { WIRE_LIMITS } from '../../shared/wire/limits.js';
import type { Held, Orders, StartOrder, StopOrder, Sync } from '../../shared/wire/messages.js';
import type { DriverFactory, TaskDriver } from '../driver/driver.js';
import type { Attempt } from '../model/attempt.js';
import { needsStaging, type Staging } from '../staging/staging.js';
import type { AgentStore } from '../store/store.js';
import type { AttemptContext, AttemptListener } from './attempt-context.js';
import { accepted, missingSecret, NO_OUTPUT, stillborn } from './attempts.js';
import type { GpuMeter } from './gpu-meter.js';
import { SupervisedAttempt } from './supervised-attempt.js';

export interface SupervisorOptions {
  readonly store: AgentStore;
  readonly drivers: ReadonlyMap<DriverName, DriverFactory>;
  /** Without it, what has inputs, outputs or volumes is rejected. */
  readonly staging?: Staging;
  /** Absent where nobody looks at GPUs. */
  readonly gpuMeter?: GpuMeter;
  readonly clock: Clock;
  readonly log: Log;
}

export interface SupervisorListener extends AttemptListener {
  /** The agent knows nothing of it any more. */
  forgotten(allocationId: AllocationId): void;
  /** The node holds nothing and takes nothing, as the asking of this number wanted. */
  closed(closing: number): void;
}

/** Attempts that the agent knows at once, ended ones included; what comes beyond is rejected. */
const MAX_HELD = 10_000;

/**
 * All attempts of this agent, each from its order to the coordinator's receipt of its end and its output.
 *
 * An order is on disk before it is acknowledged, and before anything starts.
 */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #listener: SupervisorListener;
  readonly #context: AttemptContext;
  readonly #attempts = new Map<AllocationId, SupervisedAttempt>();
  readonly #drivers = new Map<DriverName, TaskDriver>();
  /** Number of the asking by which the node is to close; 0 while it is open. */
  #closing = 0;
  #isHalted = false;

  constructor(options: SupervisorOptions, listener: SupervisorListener) {
    this.#options = options;
    this.#listener = listener;
    this.#context = { ...options, listener };
  }

  /** Takes up what an earlier process left; returns the agent's identity. Call once, first. */
  async open(): Promise<string> {
    const { identity, attempts } = await this.#options.store.open();
    for (const [name, make] of this.#options.drivers) {
      const driver = await make((event) => this.#attempts.get(event.allocationId)?.driverEvent(event));
      this.#drivers.set(name, driver);
      if (this.#isHalted) await driver.close();
    }
    for (const attempt of attempts.values()) this.#add(attempt);
    await this.#options.staging?.recover([...this.#attempts.keys()]);
    for (const [name, driver] of this.#drivers) await this.#recover(name, driver);
    for (const attempt of this.#attempts.values()) this.#takeUpOther(attempt);
    return identity;
  }

  driverOf(allocationId: AllocationId): TaskDriver | undefined {
    return this.#attempts.get(allocationId)?.driver;
  }

  held(): Held[] {
    return [...this.#attempts.values()].map((attempt) => attempt.held());
  }

  /** Why commands of attempts cannot start yet; not all of very many. */
  preparing(): AttemptPreparation[] {
    const found: AttemptPreparation[] = [];
    for (const { id: allocationId, preparation } of this.#attempts.values()) {
      if (found.length === WIRE_LIMITS.maxPreparing) break;
      if (preparation !== undefined) found.push({ allocationId, preparation });
    }
    return found;
  }

  /** Takes orders over; resolves when they are on disk, and rejects when that fails: then they come again. */
  async take({ start, stop, closing }: Orders): Promise<void> {
    if (closing !== undefined) this.#closing = closing;
    await Promise.all([this.#start(start), this.#stop(stop)]);
    this.#confirmClosed();
  }

  /** The coordinator's answer to everything that the agent holds. */
  async sync({ keep, start, stop, forget, closing }: Sync): Promise<void> {
    this.acknowledge(forget);
    await this.take({ start, stop, closing: closing ?? 0 });
    for (const id of keep) this.#attempts.get(id)?.launch();
  }

  /** The coordinator has the ends of these. */
  acknowledge(allocationIds: readonly AllocationId[]): void {
    for (const id of allocationIds) {
      const attempt = this.#attempts.get(id);
      if (!attempt?.hasEnded) continue;
      attempt.isReported = true;
      this.#forgetWhenDone(attempt);
    }
  }

  /** The coordinator has all the output of this. */
  outputComplete(allocationId: AllocationId): void {
    const attempt = this.#attempts.get(allocationId);
    if (!attempt) return;
    attempt.isShipped = true;
    this.#forgetWhenDone(attempt);
  }

  /** Does nothing more, ever; attempts go on. */
  async halt(): Promise<void> {
    this.#isHalted = true;
    for (const attempt of this.#attempts.values()) attempt.halt();
    await Promise.all([...this.#drivers.values()].map((driver) => driver.close()));
    await this.#options.staging?.close();
  }

  async #start(orders: readonly StartOrder[]): Promise<void> {
    const started = new Set<SupervisedAttempt>();
    const added = new Set<SupervisedAttempt>();
    for (const order of orders) {
      const known = this.#attempts.get(order.allocationId);
      const attempt = known ?? this.#add(this.#judge(order));
      attempt.grant(order);
      started.add(attempt);
      if (!known) added.add(attempt);
    }
    await this.#saveNew([...added]);
    await Promise.all([...started].map((attempt) => attempt.saved));
    if (this.#isHalted) return;
    for (const attempt of started) {
      attempt.launch();
      // A known one answers with where it stands; of a new one the driver will tell.
      if (attempt.hasEnded || !added.has(attempt)) this.#listener.changed(attempt);
    }
  }

  #judge(order: StartOrder): Attempt {
    const id = order.allocationId;
    if (this.#closing > 0) return stillborn(id, { kind: 'rejected', message: 'this node is being switched off' });
    if (!this.#drivers.has(order.driver)) {
      return stillborn(id, { kind: 'rejected', message: `this node has no driver "${order.driver}"` });
    }
    const secret = missingSecret(order);
    if (secret !== undefined) return stillborn(id, { kind: 'rejected', message: `its secret "${secret}" was removed` });
    if (needsStaging(order) && this.#options.staging === undefined) {
      return stillborn(id, { kind: 'rejected', message: 'this node stages no files' });
    }
    if (this.#attempts.size < MAX_HELD) return accepted(order);
    return stillborn(id, { kind: 'rejected', message: `this node holds ${MAX_HELD} attempts already` });
  }

  async #stop(orders: readonly StopOrder[]): Promise<void> {
    const tombstones: SupervisedAttempt[] = [];
    const ended: SupervisedAttempt[] = [];
    const stops: Promise<void>[] = [];
    for (const { allocationId, reason } of orders) {
      const known = this.#attempts.get(allocationId);
      if (!known) tombstones.push(this.#add(stillborn(allocationId, { kind: 'stopped', reason, ranMs: 0 })));
      else if (known.hasEnded) ended.push(known);
      else stops.push(known.requestStop(reason));
    }
    await Promise.all([this.#saveNew(tombstones), ...stops]);
    if (this.#isHalted) return;
    for (const attempt of [...tombstones, ...ended]) this.#listener.changed(attempt);
  }

  #forgetWhenDone(attempt: SupervisedAttempt): void {
    if (!attempt.isReported || !attempt.isShipped || this.#isHalted) return;
    const allocationId = attempt.id;
    this.#attempts.delete(allocationId);
    this.#listener.forgotten(allocationId);
    this.#confirmClosed();
    this.#options.store
      .save({ remove: [allocationId] })
      .then(() => (this.#isHalted ? undefined : this.#clean(attempt)))
      .catch((error: unknown) => {
        // What is left is found, and removed again, by the next process.
        this.#options.log.warn('attempt could not be removed', { allocationId, error: String(error) });
      });
  }

  /** Only when its ends and its output are with the coordinator too: they would go with the machine (P9). */
  #confirmClosed(): void {
    if (this.#closing > 0 && this.#attempts.size === 0 && !this.#isHalted) this.#listener.closed(this.#closing);
  }

  async #clean({ id, driver }: SupervisedAttempt): Promise<void> {
    await driver?.remove(id);
    await this.#options.staging?.remove(id);
  }

  async #recover(name: DriverName, driver: TaskDriver): Promise<void> {
    const own = [...this.#attempts.values()].filter(({ record }) => record.driver === name);
    const recoveries = await driver.recover(own.map(({ id }) => id));
    if (this.#isHalted) return;
    for (const attempt of own) attempt.takeUp(recoveries.get(attempt.id) ?? { kind: 'absent' });
  }

  /** Ended attempts whose output is still to be sent, and attempts of a driver that this node no longer has. */
  #takeUpOther(attempt: SupervisedAttempt): void {
    const { driver, phase } = attempt.record;
    if (phase.kind === 'ended') this.#listener.ended(attempt.id, phase.end);
    else if (driver !== null && !this.#drivers.has(driver)) {
      attempt.end({ end: { kind: 'lost', message: `this node no longer has the driver "${driver}"` }, ...NO_OUTPUT });
    }
  }

  #add(record: Attempt): SupervisedAttempt {
    const driver = record.driver === null ? undefined : this.#drivers.get(record.driver);
    const attempt = new SupervisedAttempt(this.#context, record, driver);
    this.#attempts.set(attempt.id, attempt);
    return attempt;
  }

  /** All or none: what could not be put on disk was never known. */
  async #saveNew(added: readonly SupervisedAttempt[]): Promise<void> {
    if (added.length === 0) return;
    const saved = this.#options.store.save({ put: added.map(({ record }) => record) });
    for (const attempt of added) attempt.savedWith(saved);
    try {
      await saved;
    } catch (error) {
      for (const { id } of added) this.#attempts.delete(id);
      throw error;
    }
  }
}
