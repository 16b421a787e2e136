import type { Refusal } from '../../shared/errors.js';
import type { NodeId } from '../../shared/ids.js';
import { type Hello, OLDEST_AGENT_PROTOCOL, PROTOCOL_VERSION, type Refuse } from '../../shared/wire/messages.js';

/** The same agent process, whatever became of its earlier connection. */
export function isSameProcess(left: Hello, right: Hello): boolean {
  return left.identity === right.identity && left.instance === right.instance;
}

/** What an agent is told whose protocol version this coordinator does not serve. */
export function wrongProtocol(hello: Hello, version: string): Refuse | undefined {
  if (hello.protocol >= OLDEST_AGENT_PROTOCOL && hello.protocol <= PROTOCOL_VERSION) return undefined;
  const isNewer = hello.protocol > PROTOCOL_VERSION;
  const remedy = isNewer ? 'upgrade the coordinator first' : 'upgrade the agent';
  return {
    code: 'protocol-version',
    message:
      `agent ${hello.version} speaks protocol version ${hello.protocol}, coordinator ${version} serves ` +
      `${OLDEST_AGENT_PROTOCOL} to ${PROTOCOL_VERSION}: ${remedy}`,
    final: true,
  };
}

/** What an agent is told that comes with the ticket of another node. */
export function wrongTicket({ nodeId }: Hello, ticketNode: NodeId | undefined): Refuse | undefined {
  if (ticketNode === undefined || ticketNode === nodeId) return undefined;
  return { code: 'forbidden', message: `this ticket is for node ${ticketNode}, not for ${nodeId}`, final: true };
}

/** What an agent is told whose place a live one holds. */
export function inUse(holder: Hello, claimant: Hello): Refuse {
  if (holder.identity !== claimant.identity) {
    return {
      code: 'name-taken',
      message: `another agent is connected as node ${claimant.nodeId}: start this one with another --name`,
      final: true,
    };
  }
  return {
    code: 'identity-in-use',
    message:
      `two live agents have one identity: the state directory of node ${holder.nodeId} was copied, with a cloned ` +
      'machine perhaps; stop the agent on the copy, delete its state directory there, and start it again',
    // The other may be the same machine's former process in its last moments.
    final: false,
  };
}

/** The engine's "no", for the agent. */
export function refusedJoin({ refused, detail, hint }: Refusal): Refuse {
  return {
    code: refused,
    message: hint === undefined ? detail : `${detail}; ${hint}`,
    final: refused === 'name-taken' || refused === 'forbidden',
  };
}
