import type { Cancel, Clock, EpochMs } from '../../shared/clock.js';
import { AppError } from '../../shared/errors.js';
import type { NodeId } from '../../shared/ids.js';
import type { Log } from '../../shared/log.js';
import { type Channel, CLOSE } from '../../shared/wire/channel.js';
import { WIRE_LIMITS } from '../../shared/wire/limits.js';
import {
  type Body,
  type BodyKind,
  type Heartbeat,
  type Hello,
  type LogAck,
  type LogChunk,
  type Orders,
  PROTOCOL_VERSION,
  type Refuse,
  type Sync,
} from '../../shared/wire/messages.js';
import { Session } from '../../shared/wire/session.js';
import { LogAnswers } from './log-answers.js';
import type { EngineHandle, OrderSource } from './ports.js';
import type { TaskLogs } from './task-logs.js';

/** What an agent last said of its machine: shown, never used to decide anything. */
export interface NodeUsage {
  readonly heartbeat: Heartbeat;
  readonly receivedAt: EpochMs;
  /** How far the agent's wall clock is ahead of ours, the way of the message included. */
  readonly clockOffsetMs: number;
}

export interface ConnectionOptions {
  readonly engine: EngineHandle;
  readonly orders: OrderSource;
  readonly logs: Pick<TaskLogs, 'write'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Our version, told to agents. */
  readonly version: string;
}

export interface ConnectionHandlers {
  /** The agent said who it is. Answers by `welcome`, `sync` or `refuse`; a rejection closes the connection. */
  hello(hello: Hello): Promise<void>;
  /** Exactly once. */
  closed(code: number, reason: string): void;
}

/** Where the handshake stands: hello, then welcome, then sync; orders only after that. */
type Stage = 'opened' | 'joining' | 'welcomed' | 'synced';

/** One agent's connection, from the channel to the inputs of the engine. */
export class AgentConnection {
  readonly #options: ConnectionOptions;
  readonly #handlers: ConnectionHandlers;
  readonly #session: Session;
  readonly #answers: LogAnswers;
  readonly #cancelHandshake: Cancel;
  #stage: Stage = 'opened';
  #hello: Hello | undefined;
  #usage: NodeUsage | undefined;

  constructor(channel: Channel, handlers: ConnectionHandlers, options: ConnectionOptions) {
    this.#options = options;
    this.#handlers = handlers;
    this.#answers = new LogAnswers(options.logs, options.clock);
    this.#session = new Session(
      channel,
      { message: (body) => this.#take(body), closed: (code, reason) => this.#closed(code, reason) },
      options,
    );
    this.#cancelHandshake = options.clock.after(WIRE_LIMITS.handshakeMs, () =>
      this.close(CLOSE.protocolViolation, 'no hello came in time'),
    );
  }

  get isOpen(): boolean {
    return this.#session.isOpen;
  }

  /** Undefined until the agent has said it. */
  get hello(): Hello | undefined {
    return this.#hello;
  }

  get usage(): NodeUsage | undefined {
    return this.#usage;
  }

  probe(withinMs: number): Promise<boolean> {
    return this.#session.probe(withinMs);
  }

  /** Ends the handshake; the agent may speak from now on. Idempotent. */
  welcome(): void {
    if (this.#stage !== 'joining') return;
    this.#stage = 'welcomed';
    const { version } = this.#options;
    const { heartbeatMs } = WIRE_LIMITS;
    this.#session.send({ kind: 'welcome', welcome: { protocol: PROTOCOL_VERSION, version, heartbeatMs } });
  }

  sync(sync: Sync): void {
    this.welcome();
    this.#stage = 'synced';
    this.#session.send({ kind: 'sync', sync });
  }

  /** Dropped before the first sync, which says the same and more. */
  order(orders: Orders): void {
    if (this.#stage === 'synced') this.#session.send({ kind: 'orders', orders });
  }

  refuse(refuse: Refuse): void {
    this.#session.send({ kind: 'refuse', refuse });
    this.close(CLOSE.refused, refuse.code);
  }

  close(code: number, reason: string): void {
    this.#session.close(code, reason);
  }

  #closed(code: number, reason: string): void {
    this.#cancelHandshake();
    this.#handlers.closed(code, reason);
  }

  #take(body: Body): Promise<void> | undefined {
    if (body.kind === 'hello') return this.#takeHello(body.hello);
    const nodeId = this.#joinedNode(body.kind);
    switch (body.kind) {
      case 'reports':
        return this.#options.engine.handleAll(
          body.reports.map((report) => ({ type: 'agentReported', nodeId, report })),
        );
      case 'departing':
        return this.#options.engine.handle({ type: 'agentDeparting', nodeId, reason: body.reason }).then(() => {});
      case 'inventory':
        return this.#options.engine
          .handle({ type: 'inventoryChanged', nodeId, inventory: body.inventory })
          .then(() => {});
      case 'closed':
        return this.#options.engine.handle({ type: 'agentClosed', nodeId, closing: body.closing }).then(() => {});
      case 'heartbeat':
        this.#takeHeartbeat(body.heartbeat);
        return undefined;
      case 'log-chunk':
        return this.#takeOutput(nodeId, body.chunk);
      default:
        throw new AppError('protocol-violation', `an agent sends no ${body.kind}`);
    }
  }

  #takeHello(hello: Hello): Promise<void> {
    if (this.#stage !== 'opened') throw new AppError('protocol-violation', 'a second hello');
    this.#stage = 'joining';
    this.#hello = hello;
    this.#cancelHandshake();
    return this.#handlers.hello(hello);
  }

  #joinedNode(kind: BodyKind): NodeId {
    if (this.#hello === undefined) throw new AppError('protocol-violation', `a ${kind} before the hello`);
    if (this.#stage === 'joining') throw new AppError('protocol-violation', `a ${kind} before the welcome`);
    return this.#hello.nodeId;
  }

  #takeHeartbeat(heartbeat: Heartbeat): void {
    const receivedAt = this.#options.clock.now();
    this.#usage = { heartbeat, receivedAt, clockOffsetMs: heartbeat.sentAt - receivedAt };
  }

  async #takeOutput(nodeId: NodeId, chunk: LogChunk): Promise<void> {
    if ((await this.#options.orders.nodeOf(chunk.allocationId)) !== nodeId) {
      this.#disown(nodeId, chunk);
      return;
    }
    const limitMiB = await this.#options.orders.logLimitMiBOf(chunk.allocationId);
    const ack = await this.#answers.take(chunk, limitMiB);
    if (ack !== undefined) this.#session.send({ kind: 'log-ack', ack });
  }

  /** A node writes only the output of its own allocations; what is nobody's it may throw away. */
  #disown(nodeId: NodeId, { allocationId, stream, offset, bytes }: LogChunk): void {
    this.#options.log.warn('output of a foreign allocation refused', { nodeId, allocationId });
    const ack: LogAck = { allocationId, stream, offset: offset + bytes.length, complete: true };
    this.#session.send({ kind: 'log-ack', ack });
  }
}
