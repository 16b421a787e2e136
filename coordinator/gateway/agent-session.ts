import { isRefusal } from '../../shared/errors.js';
import type { AllocationId, NodeId } from '../../shared/ids.js';
import { type Channel, CLOSE } from '../../shared/wire/channel.js';
import type { Hello, Orders, Refuse } from '../../shared/wire/messages.js';
import type { Effect } from '../engine/inputs.js';
import { AgentConnection, type ConnectionOptions, type NodeUsage } from './agent-connection.js';
import { inUse, isSameProcess, refusedJoin, wrongProtocol, wrongTicket } from './join-refusals.js';

/** A connection whose place another agent claims must give a sign of life within this time to keep it. */
const PROBE_MS = 5_000;

/**
 * All agents' connections, at most one a node: turns what agents say into inputs of the engine, and effects into orders.
 *
 * Orders for a node that is not connected are dropped: the sync at its next connection says the same.
 */
export class AgentGateway {
  readonly #options: ConnectionOptions;
  readonly #connections = new Set<AgentConnection>();
  readonly #byNode = new Map<NodeId, AgentConnection>();
  readonly #byIdentity = new Map<string, AgentConnection>();
  /** Nodes that the engine takes for connected. */
  readonly #believed = new Set<NodeId>();
  #isClosing = false;

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  /** Takes over the channel of an agent that has shown its token, or a ticket that is good for one node. */
  accept(channel: Channel, ticketNode?: NodeId): void {
    const connection: AgentConnection = new AgentConnection(
      channel,
      {
        hello: (hello) => this.#join(connection, hello, ticketNode),
        closed: (code, reason) => this.#release(connection, code, reason),
      },
      this.#options,
    );
    this.#connections.add(connection);
    if (this.#isClosing) connection.close(CLOSE.goingAway, 'the coordinator is stopping');
  }

  /** Tells agents what follows from events that are on disk; what is not for agents is left to others. */
  perform(effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'disconnect') this.#byNode.get(effect.nodeId)?.close(CLOSE.goingAway, 'its machine is off');
    }
    const synced = new Set<NodeId>();
    for (const effect of effects) {
      if (effect.kind !== 'sync' || synced.has(effect.nodeId)) continue;
      synced.add(effect.nodeId);
      const connection = this.#byNode.get(effect.nodeId);
      if (connection?.hello) connection.sync(this.#options.orders.syncFor(effect.nodeId, connection.hello));
    }
    for (const [nodeId, work] of byNode(effects)) {
      const connection = this.#byNode.get(nodeId);
      if (connection && !synced.has(nodeId)) this.#order(connection, nodeId, work);
    }
  }

  /** What a connected node last said of itself. */
  usageOf(nodeId: NodeId): NodeUsage | undefined {
    return this.#byNode.get(nodeId)?.usage;
  }

  /** Ends every connection; agents come back to the next coordinator. */
  close(): void {
    this.#isClosing = true;
    for (const connection of [...this.#connections]) connection.close(CLOSE.goingAway, 'the coordinator is stopping');
  }

  async #join(connection: AgentConnection, hello: Hello, ticketNode: NodeId | undefined): Promise<void> {
    const refuse =
      wrongProtocol(hello, this.#options.version) ??
      wrongTicket(hello, ticketNode) ??
      (await this.#contend(connection, hello));
    if (refuse !== undefined) {
      this.#refuse(connection, hello, refuse);
      return;
    }
    if (!connection.isOpen) return;
    this.#register(connection, hello);
    const reply = await this.#options.engine.handle({
      ...{ type: 'agentJoined', hello },
      ...(ticketNode === undefined ? {} : { hasTicket: true }),
    });
    if (isRefusal(reply)) {
      this.#refuse(connection, hello, refusedJoin(reply));
      return;
    }
    this.#believed.add(hello.nodeId);
    if (!this.#byNode.has(hello.nodeId)) this.#silence(hello.nodeId);
    if (!connection.isOpen) return;
    connection.welcome();
    const { nodeId, version, held } = hello;
    this.#options.log.info('agent connected', { nodeId, agentVersion: version, heldCount: held.length });
  }

  /** Makes way for a newcomer: its own former connection goes, another agent's only if it is dead. */
  async #contend(newcomer: AgentConnection, hello: Hello): Promise<Refuse | undefined> {
    while (newcomer.isOpen) {
      const rival = this.#byIdentity.get(hello.identity) ?? this.#byNode.get(hello.nodeId);
      if (!rival?.hello) return undefined;
      if (isSameProcess(rival.hello, hello)) {
        // First the place, then the farewell: the engine is not told that the node fell silent.
        this.#register(newcomer, hello);
        rival.close(CLOSE.replaced, 'the agent has connected anew');
        return undefined;
      }
      if (await rival.probe(PROBE_MS)) return inUse(rival.hello, hello);
      rival.close(CLOSE.replaced, 'another agent has taken the place of this silent one');
    }
    return undefined;
  }

  #refuse(connection: AgentConnection, { nodeId }: Hello, refuse: Refuse): void {
    this.#options.log.warn('agent refused', { nodeId, code: refuse.code, reason: refuse.message });
    connection.refuse(refuse);
  }

  #register(connection: AgentConnection, hello: Hello): void {
    this.#byNode.set(hello.nodeId, connection);
    this.#byIdentity.set(hello.identity, connection);
  }

  #release(connection: AgentConnection, code: number, reason: string): void {
    this.#connections.delete(connection);
    const { hello } = connection;
    if (hello === undefined) return;
    this.#options.log.info('agent disconnected', { nodeId: hello.nodeId, code, reason });
    if (this.#byIdentity.get(hello.identity) === connection) this.#byIdentity.delete(hello.identity);
    if (this.#byNode.get(hello.nodeId) !== connection) return;
    this.#byNode.delete(hello.nodeId);
    this.#silence(hello.nodeId);
  }

  /** Tells the engine, if it believes otherwise, that a node has no connection. */
  #silence(nodeId: NodeId): void {
    if (!this.#believed.delete(nodeId) || this.#isClosing) return;
    this.#options.engine.handle({ type: 'agentSilent', nodeId }).catch((error: unknown) => {
      this.#options.log.error('silence of a node could not be noted', { nodeId, error });
    });
  }

  #order(connection: AgentConnection, nodeId: NodeId, { starts, stops, isIntakeNew }: Work): void {
    const { orders: source } = this.#options;
    const orders: Orders = {
      start: starts.flatMap((id) => source.startOrder(id) ?? []),
      stop: stops.flatMap((id) => source.stopOrder(id) ?? []),
      ...(isIntakeNew ? { closing: source.closingOf(nodeId) } : {}),
    };
    if (isIntakeNew || orders.start.length + orders.stop.length > 0) connection.order(orders);
  }
}

interface Work {
  readonly starts: AllocationId[];
  readonly stops: AllocationId[];
  /** It is to close, or to open again. */
  isIntakeNew: boolean;
}

function byNode(effects: readonly Effect[]): ReadonlyMap<NodeId, Work> {
  const nodes = new Map<NodeId, Work>();
  for (const effect of effects) {
    if (effect.kind !== 'start' && effect.kind !== 'stop' && effect.kind !== 'intake') continue;
    const work = nodes.get(effect.nodeId) ?? { starts: [], stops: [], isIntakeNew: false };
    nodes.set(effect.nodeId, work);
    if (effect.kind === 'intake') work.isIntakeNew = true;
    else (effect.kind === 'start' ? work.starts : work.stops).push(effect.allocationId);
  }
  return nodes;
}
