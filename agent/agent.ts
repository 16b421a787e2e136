import { type BackoffPolicy, backoffMs } from '../shared/backoff.js';
import type { Clock } from '../shared/clock.js';
import { AppError, type ErrorCode, isAppError } from '../shared/errors.js';
import type { NodeId } from '../shared/ids.js';
import type { DriverName } from '../shared/job-spec/spec.js';
import type { Log } from '../shared/log.js';
import type { Random } from '../shared/random.js';
import { type Heartbeat, type Hello, type Inventory, PROTOCOL_VERSION } from '../shared/wire/messages.js';
import type { DriverFactory } from './driver/driver.js';
import type { Dialer } from './link/dialer.js';
import type { Staging } from './staging/staging.js';
import type { AgentStore } from './store/store.js';
import { Connection, type ConnectionEnd } from './supervise/connection.js';
import type { GpuMeter } from './supervise/gpu-meter.js';
import { LogShipper } from './supervise/log-shipper.js';
import { OutputSpool, type SpooledStream } from './supervise/output-spool.js';
import type { SpoolDisk } from './supervise/spool-disk.js';
import { Supervisor } from './supervise/supervisor.js';

export interface AgentOptions {
  readonly nodeId: NodeId;
  readonly version: string;
  readonly bootId: string;
  readonly store: AgentStore;
  readonly drivers: ReadonlyMap<DriverName, DriverFactory>;
  readonly staging?: Staging;
  /** Absent where nobody looks at GPUs. */
  readonly gpuMeter?: GpuMeter;
  /** What the output of attempts may take on this node; absent: anything. */
  readonly spool?: { readonly disk: SpoolDisk; readonly limitBytes: number };
  readonly dial: Dialer;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Asked at each connection, and when it has changed. */
  readonly inventory: () => Promise<Inventory>;
  readonly heartbeat: () => Promise<Heartbeat>;
}

const RECONNECT: BackoffPolicy = { firstMs: 250, maxMs: 30_000, factor: 2 };
/** A connection that lasted this long was good: the next failure is a first one again. */
const STABLE_MS = 10_000;
/** Errors that dialing again cannot mend. */
const FINAL: ReadonlySet<ErrorCode> = new Set(['unauthenticated', 'forbidden', 'protocol-version', 'name-taken']);

/**
 * The node's process: keeps a connection to the coordinator, and supervises attempts with or without one.
 *
 * Everything reaches it through its options, and nothing of it is global: the simulator runs many in one process, and
 * dropping one is a crash.
 */
export class Agent {
  readonly #options: AgentOptions;
  readonly #instance: string;
  readonly #supervisor: Supervisor;
  readonly #shipper: LogShipper;
  readonly #ending = new AbortController();
  /** Once the state directory is this process's. */
  #spool: OutputSpool | undefined;
  #connection: Connection | undefined;
  #inventoryChanges = 0;
  #endPause: () => void = () => {};

  constructor(options: AgentOptions) {
    this.#options = options;
    this.#instance = options.random.token(8);
    this.#shipper = new LogShipper({
      ...options,
      read: async (id, stream, offset, maxBytes) =>
        (await this.#supervisor.driverOf(id)?.read(id, stream, offset, maxBytes)) ?? new Uint8Array(0),
      complete: (id) => this.#supervisor.outputComplete(id),
      extent: (id, stream, offset) =>
        this.#spool?.extent(id, stream, offset) ?? { from: offset, to: Number.POSITIVE_INFINITY },
    });
    this.#supervisor = new Supervisor(options, {
      changed: (attempt) => this.#connection?.reports.changed(attempt),
      launched: (id) => this.#shipper.follow(id),
      ended: (id, output) => this.#shipper.ended(id, output),
      forgotten: (id) => {
        this.#connection?.reports.forgotten(id);
        this.#shipper.forget(id);
        this.#spool?.forget(id);
      },
      closed: (closing) => this.#connection?.confirmClosed(closing),
    });
  }

  /**
   * Works until `stop` or `abandon`, and then resolves; tasks go on. Calls `started` when it has taken up its attempts,
   * with or without a coordinator.
   *
   * Errors: what the state directory says (`store-corrupt`, `state-dir-busy`, `store-unavailable`), and what the
   * coordinator refuses for good (`unauthenticated`, `protocol-version`, `name-taken`, ...).
   */
  async run(started = (): void => {}): Promise<void> {
    const identity = await this.#supervisor.open();
    if (this.#isEnding) return;
    this.#openSpool();
    this.#options.log.info('agent started', {
      nodeId: this.#options.nodeId,
      heldCount: this.#supervisor.held().length,
    });
    started();
    let failureCount = 0;
    while (!this.#isEnding) {
      const startedAt = this.#options.clock.monotonic();
      const end = await this.#connectOnce(identity);
      if (this.#isEnding) return;
      if (end.isFinal) {
        await this.stop();
        throw end.error;
      }
      failureCount = this.#options.clock.monotonic() - startedAt >= STABLE_MS ? 1 : failureCount + 1;
      const delayMs = backoffMs(RECONNECT, failureCount, this.#options.random);
      const { code, message: reason, hint } = end.error;
      this.#options.log.warn('not connected', { code, reason, ...(hint ? { hint } : {}), retryInMs: delayMs });
      await this.#pause(delayMs);
    }
  }

  /** The inventory is another from now on: a connected coordinator is told, another one learns it from the hello. */
  async inventoryChanged(): Promise<void> {
    this.#inventoryChanges += 1;
    try {
      const inventory = await this.#options.inventory();
      this.#connection?.offer(inventory);
    } catch (error) {
      // The next hello tells it, if it can be taken then.
      this.#options.log.warn('no inventory of the machine', { error: String(error) });
    }
  }

  /** Leaves the tasks running, writes down what is under way, and ends `run`. */
  async stop(): Promise<void> {
    this.#end('the agent stops');
    await this.#supervisor.halt();
    await this.#options.store.close();
  }

  /** Ends as if the process had been killed: nothing more is done or said. */
  abandon(): void {
    this.#end('the agent is gone');
    void this.#supervisor.halt();
  }

  get #isEnding(): boolean {
    return this.#ending.signal.aborted;
  }

  #openSpool(): void {
    const { spool } = this.#options;
    if (spool === undefined) return;
    this.#spool = new OutputSpool({ ...this.#options, ...spool }, () => this.#spooled());
  }

  *#spooled(): Generator<SpooledStream> {
    for (const each of this.#shipper.streams()) {
      const path = this.#supervisor.driverOf(each.id)?.output?.outputFile(each.id, each.stream);
      if (path !== undefined) yield { ...each, path };
    }
  }

  #end(reason: string): void {
    this.#spool?.stop();
    this.#ending.abort();
    this.#endPause();
    this.#shipper.disconnect();
    this.#connection?.close(reason);
    this.#connection = undefined;
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(delayMs, resolve);
      this.#endPause = () => {
        cancel();
        resolve();
      };
    });
  }

  async #connectOnce(identity: string): Promise<ConnectionEnd> {
    try {
      const changesBefore = this.#inventoryChanges;
      const inventory = await this.#options.inventory();
      const channel = await this.#options.dial(this.#ending.signal);
      const connection = new Connection(channel, {
        ...this.#options,
        supervisor: this.#supervisor,
        shipper: this.#shipper,
      });
      this.#connection = connection;
      if (this.#isEnding) this.#end('the agent is gone');
      else connection.greet(this.#hello(identity, inventory));
      if (this.#inventoryChanges > changesBefore) connection.offer(await this.#options.inventory());
      return await connection.ended;
    } catch (error) {
      const known = isAppError(error) ? error : new AppError('unreachable', String(error), { cause: error });
      return { error: known, isFinal: FINAL.has(known.code) };
    } finally {
      this.#shipper.disconnect();
      this.#connection = undefined;
    }
  }

  #hello(identity: string, inventory: Inventory): Hello {
    const { nodeId, version, bootId } = this.#options;
    return {
      protocol: PROTOCOL_VERSION,
      version,
      nodeId,
      identity,
      instance: this.#instance,
      bootId,
      inventory,
      held: this.#supervisor.held(),
    };
  }
}
