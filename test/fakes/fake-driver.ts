import type {
  DriverEnd,
  DriverFactory,
  DriverListener,
  OutputBytes,
  Recovery,
  TaskDriver,
} from '../../agent/driver/driver.js';
import type { Cancel, Clock } from '../../shared/clock.js';
import type { AllocationId } from '../../shared/ids.js';
import type { LogStream, StartOrder } from '../../shared/wire/messages.js';

interface FakeTask {
  readonly order: StartOrder;
  readonly startedAt: number;
  end: DriverEnd | null;
  cancel: Cancel;
  stdoutBytes: number;
}

const NOTHING = new Uint8Array(0);

/**
 * A machine on which nothing really runs. An order's environment says what would happen:
 *
 *   SIM_START_MS      how long it takes to get ready (1)
 *   SIM_RUN_MS        how long the command runs (1)
 *   SIM_EXIT          its status (0); `SIGKILL` and the like for a signal
 *   SIM_OUTPUT_BYTES  what it writes to stdout, all of it at once at its start (0)
 *   SIM_IGNORE_TERM   set: only SIGKILL ends it
 *
 * It outlives the drivers that it gives out, as a real machine outlives agents.
 */
export class FakeMachine {
  /** How often the command of each allocation was started; more than once is a broken promise. */
  readonly startCounts = new Map<AllocationId, number>();
  bootCount = 1;
  /** Why it starts nothing, while it does not. */
  trouble: string | null = null;
  readonly #clock: Clock;
  readonly #tasks = new Map<AllocationId, FakeTask>();
  /** Of drivers that are not closed. */
  readonly #drivers = new Set<FakeDriver>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get bootId(): string {
    return `boot-${this.bootCount}`;
  }

  /** What runs now. */
  get running(): AllocationId[] {
    return [...this.#tasks].filter(([, task]) => task.end === null).map(([id]) => id);
  }

  driver(): DriverFactory {
    return async (listener) => {
      const driver = new FakeDriver(this, this.#clock, listener);
      this.#drivers.add(driver);
      return driver;
    };
  }

  /** The power fails and comes back: everything that ran is gone. The agent, too, must be dropped by the caller. */
  reboot(): void {
    this.bootCount += 1;
    this.#drivers.clear();
    for (const task of this.#tasks.values()) {
      if (task.end !== null) continue;
      task.cancel();
      task.end = { kind: 'lost', message: 'the node rebooted' };
    }
  }

  detach(driver: FakeDriver): void {
    this.#drivers.delete(driver);
  }

  task(id: AllocationId): FakeTask | undefined {
    return this.#tasks.get(id);
  }

  start(order: StartOrder): void {
    const id = order.allocationId;
    if (this.#tasks.has(id)) return;
    const task: FakeTask = {
      order,
      startedAt: this.#clock.monotonic(),
      end: null,
      cancel: () => {},
      stdoutBytes: Number(order.env.SIM_OUTPUT_BYTES ?? 0),
    };
    this.#tasks.set(id, task);
    if (this.trouble !== null) {
      this.finish(id, { kind: 'rejected', message: this.trouble });
      return;
    }
    if (order.workdir?.startsWith('/missing')) {
      this.finish(id, { kind: 'start-failed', message: `cannot enter the working directory ${order.workdir}` });
      return;
    }
    this.startCounts.set(id, (this.startCounts.get(id) ?? 0) + 1);
    const startMs = Number(order.env.SIM_START_MS ?? 1);
    this.#clock.after(startMs, () => this.#tell((driver) => driver.started(id)));
    const runMs = Number(order.env.SIM_RUN_MS ?? 1);
    task.cancel = this.#clock.after(startMs + runMs, () => this.finish(id, statusOf(task, runMs)));
  }

  finish(id: AllocationId, end: DriverEnd): void {
    const task = this.#tasks.get(id);
    if (!task || task.end !== null) return;
    task.cancel();
    task.end = end;
    this.#clock.soon(() => this.#tell((driver) => driver.ended(id, end, outputOf(task))));
  }

  forget(id: AllocationId): void {
    if (this.#tasks.get(id)?.end === null) return;
    this.#tasks.delete(id);
  }

  ended(): AllocationId[] {
    return [...this.#tasks].filter(([, task]) => task.end !== null).map(([id]) => id);
  }

  #tell(event: (driver: FakeDriver) => void): void {
    for (const driver of this.#drivers) event(driver);
  }
}

export class FakeDriver implements TaskDriver {
  readonly #machine: FakeMachine;
  readonly #clock: Clock;
  readonly #listener: DriverListener;

  constructor(machine: FakeMachine, clock: Clock, listener: DriverListener) {
    this.#machine = machine;
    this.#clock = clock;
    this.#listener = listener;
  }

  started(allocationId: AllocationId): void {
    this.#listener({ kind: 'started', allocationId });
  }

  ended(allocationId: AllocationId, end: DriverEnd, output: OutputBytes): void {
    this.#listener({ kind: 'ended', allocationId, end, output });
  }

  async start(order: StartOrder): Promise<void> {
    this.#machine.start(order);
  }

  async signal(allocationId: AllocationId, signal: string): Promise<void> {
    const task = this.#machine.task(allocationId);
    if (!task || (task.order.env.SIM_IGNORE_TERM !== undefined && signal !== 'SIGKILL')) return;
    const ranMs = Math.round(this.#clock.monotonic() - task.startedAt);
    this.#machine.finish(allocationId, { kind: 'signaled', signal, ranMs });
  }

  async recover(allocationIds: readonly AllocationId[]): Promise<ReadonlyMap<AllocationId, Recovery>> {
    const wanted = new Set(allocationIds);
    for (const id of this.#machine.ended()) if (!wanted.has(id)) this.#machine.forget(id);
    return new Map(allocationIds.map((id) => [id, this.#recoverOne(id)]));
  }

  async read(id: AllocationId, stream: LogStream, offset: number, maxBytes: number): Promise<Uint8Array> {
    const total = stream === 'stdout' ? (this.#machine.task(id)?.stdoutBytes ?? 0) : 0;
    if (offset >= total) return NOTHING;
    return fakeOutput(offset, Math.min(maxBytes, total - offset));
  }

  async remove(allocationId: AllocationId): Promise<void> {
    this.#machine.forget(allocationId);
  }

  async close(): Promise<void> {
    this.#machine.detach(this);
  }

  #recoverOne(id: AllocationId): Recovery {
    const task = this.#machine.task(id);
    // Never heard of in this boot: whether it ran in an earlier one, nobody knows.
    if (!task && this.#machine.bootCount > 1) {
      return { kind: 'ended', end: { kind: 'lost', message: 'the node rebooted' }, output: NO_OUTPUT };
    }
    if (!task) return { kind: 'absent' };
    if (task.end === null) return { kind: 'running', startedAgeMs: this.#clock.monotonic() - task.startedAt };
    return { kind: 'ended', end: task.end, output: outputOf(task) };
  }
}

const NO_OUTPUT: OutputBytes = { stdoutBytes: 0, stderrBytes: 0 };

/** Bytes that differ from place to place, so that a test sees a wrong offset. */
export function fakeOutput(offset: number, byteCount: number): Uint8Array {
  const bytes = new Uint8Array(byteCount);
  for (let index = 0; index < byteCount; index += 1) bytes[index] = 97 + ((offset + index) % 26);
  return bytes;
}

function outputOf(task: FakeTask): OutputBytes {
  return {
    stdoutBytes: task.end?.kind === 'start-failed' || task.end?.kind === 'rejected' ? 0 : task.stdoutBytes,
    stderrBytes: 0,
  };
}

function statusOf({ order }: FakeTask, ranMs: number): DriverEnd {
  const status = order.env.SIM_EXIT ?? '0';
  if (status.startsWith('SIG')) return { kind: 'signaled', signal: status, ranMs };
  return { kind: 'exited', exitCode: Number(status), ranMs };
}
