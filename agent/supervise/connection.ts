import type { Cancel, Clock } from '../../shared/clock.js';
import { AppError, CODES, type ErrorCode } from '../../shared/errors.js';
import type { Log } from '../../shared/log.js';
import { type Channel, CLOSE } from '../../shared/wire/channel.js';
import { WIRE_LIMITS } from '../../shared/wire/limits.js';
import type { Body, Heartbeat, Hello, Inventory, Refuse, Welcome } from '../../shared/wire/messages.js';
import { Session } from '../../shared/wire/session.js';
import type { LogShipper } from './log-shipper.js';
import { ReportQueue } from './report-queue.js';
import type { Supervisor } from './supervisor.js';

export interface ConnectionOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly heartbeat: () => Promise<Heartbeat>;
  readonly supervisor: Supervisor;
  readonly shipper: LogShipper;
}

/** Why a connection ended; after a final end the agent does not come back by itself. */
export interface ConnectionEnd {
  readonly error: AppError;
  readonly isFinal: boolean;
}

/** One conversation with the coordinator, from hello to the end of the channel. */
export class Connection {
  readonly reports: ReportQueue;
  readonly ended: Promise<ConnectionEnd>;
  readonly #options: ConnectionOptions;
  readonly #session: Session;
  #settle: (end: ConnectionEnd) => void = () => {};
  #refusal: ConnectionEnd | undefined;
  #isWelcome = false;
  /** To be told as soon as the coordinator listens. */
  #inventory: Inventory | undefined;
  #cancelHandshake: Cancel = () => {};
  #cancelHeartbeat: Cancel = () => {};

  constructor(channel: Channel, options: ConnectionOptions) {
    this.#options = options;
    this.ended = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.reports = new ReportQueue({
      clock: options.clock,
      send: (reports, acknowledged) => this.#session.send({ kind: 'reports', reports }, acknowledged),
      acknowledged: (ids) => options.supervisor.acknowledge(ids),
    });
    this.#session = new Session(
      channel,
      {
        message: (body) => this.#receive(body),
        closed: (code, reason) => this.#closed(code, reason),
        logRoom: () => options.shipper.offer(),
      },
      options,
    );
  }

  /** Says hello; what changes from this moment on is reported. */
  greet(hello: Hello): void {
    this.#session.send({ kind: 'hello', hello });
    this.#cancelHandshake = this.#options.clock.after(WIRE_LIMITS.handshakeMs, () =>
      this.#session.close(CLOSE.silent, 'no answer to the hello'),
    );
  }

  /** Tells what the node offers from now on. */
  offer(inventory: Inventory): void {
    if (this.#isWelcome) this.#session.send({ kind: 'inventory', inventory });
    else this.#inventory = inventory;
  }

  /** Tells that the node holds nothing and takes nothing. */
  confirmClosed(closing: number): void {
    this.#session.send({ kind: 'closed', closing });
  }

  close(reason: string): void {
    this.#session.close(CLOSE.goingAway, reason);
  }

  #receive(body: Body): Promise<void> | void {
    switch (body.kind) {
      case 'welcome':
        return this.#welcomed(body.welcome);
      case 'refuse':
        return this.#refused(body.refuse);
      case 'sync':
        return this.#options.supervisor.sync(body.sync);
      case 'orders':
        return this.#options.supervisor.take(body.orders);
      case 'log-ack':
        return this.#options.shipper.acknowledge(body.ack);
      default:
        throw new AppError('protocol-violation', `a coordinator does not send ${body.kind}`);
    }
  }

  #welcomed({ version, heartbeatMs }: Welcome): void {
    this.#cancelHandshake();
    this.#options.log.info('connected', { coordinatorVersion: version });
    this.reports.open();
    this.#isWelcome = true;
    if (this.#inventory !== undefined) this.offer(this.#inventory);
    this.#options.shipper.connect((chunk) => this.#session.sendLog(chunk));
    void this.#beat(heartbeatMs);
  }

  #refused({ code, message, final }: Refuse): void {
    this.#refusal = { error: new AppError(knownCode(code), message), isFinal: final };
    this.#session.close(CLOSE.normal, 'refused');
  }

  async #beat(everyMs: number): Promise<void> {
    if (!this.#session.isOpen) return;
    const preparing = this.#options.supervisor.preparing();
    const nextMs = preparing.length > 0 ? Math.min(everyMs, WIRE_LIMITS.preparingHeartbeatMs) : everyMs;
    this.#cancelHeartbeat = this.#options.clock.after(nextMs, () => void this.#beat(everyMs));
    try {
      const heartbeat = await this.#options.heartbeat();
      this.#session.send({
        kind: 'heartbeat',
        heartbeat: preparing.length > 0 ? { ...heartbeat, preparing } : heartbeat,
      });
    } catch (error) {
      this.#options.log.warn('no sample of the machine', { error: String(error) });
    }
  }

  #closed(code: number, reason: string): void {
    this.#cancelHandshake();
    this.#cancelHeartbeat();
    this.reports.close();
    const error = new AppError('unreachable', reason === '' ? `the connection ended with code ${code}` : reason);
    this.#settle(this.#refusal ?? { error, isFinal: false });
  }
}

/** A refusal of a newer coordinator may have a code that this version does not know. */
function knownCode(code: string): ErrorCode {
  return Object.hasOwn(CODES, code) ? (code as ErrorCode) : 'conflict';
}
