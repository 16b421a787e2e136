import { type IncomingMessage, type Server, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import type { Cancel } from '../../shared/clock.js';
import { CODES, type ErrorCode } from '../../shared/errors.js';
import type { Log } from '../../shared/log.js';
import { AGENT_PATH, WEBSOCKET_OPTIONS, websocketChannel } from '../../shared/wire/websocket-channel.js';
import type { AgentGateway } from './agent-session.js';
import type { JoinTickets } from './join-tickets.js';
import type { TokenCheck } from './tokens.js';

/** RFC 6455; the only version there is. */
const WEBSOCKET_VERSION = '13';

export interface UpgradeOptions {
  readonly gateway: Pick<AgentGateway, 'accept'>;
  readonly isAgentToken: TokenCheck;
  readonly tickets: Pick<JoinTickets, 'nodeOf'>;
  readonly log: Log;
}

/** Serves agents on an HTTP server: whoever upgrades to a WebSocket at AGENT_PATH with the join token. */
export function attachAgentUpgrade(server: Server, { gateway, isAgentToken, tickets, log }: UpgradeOptions): Cancel {
  const sockets = new WebSocketServer({ ...WEBSOCKET_OPTIONS, noServer: true, clientTracking: false });
  const upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    // Until the socket is a WebSocket nobody else listens, and an unheard error would stop the process.
    socket.on('error', () => socket.destroy());
    const token = tokenOf(request);
    const ticketNode = token === undefined ? undefined : tickets.nodeOf(token);
    const refusal = refusalOf(request, ticketNode !== undefined || (token !== undefined && isAgentToken(token)));
    if (refusal === undefined) {
      sockets.handleUpgrade(request, socket, head, (websocket) =>
        gateway.accept(websocketChannel(websocket), ticketNode),
      );
      return;
    }
    log.warn('agent connection refused', { code: refusal.code, address: request.socket.remoteAddress });
    answer(socket, refusal);
  };
  server.on('upgrade', upgrade);
  return () => server.off('upgrade', upgrade);
}

interface HttpRefusal {
  readonly code: ErrorCode;
  readonly detail: string;
  readonly headers: readonly string[];
}

function tokenOf({ headers }: IncomingMessage): string | undefined {
  return /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1];
}

function refusalOf({ url, headers }: IncomingMessage, isPermitted: boolean): HttpRefusal | undefined {
  const path = (url ?? '').split('?', 1)[0];
  if (path !== AGENT_PATH) return { code: 'not-found', detail: `agents connect at ${AGENT_PATH}`, headers: [] };
  if (headers.upgrade?.toLowerCase() !== 'websocket' || headers['sec-websocket-version'] !== WEBSOCKET_VERSION) {
    const needed = ['Upgrade: websocket', `Sec-WebSocket-Version: ${WEBSOCKET_VERSION}`];
    return { code: 'protocol-version', detail: 'agents speak WebSocket version 13', headers: needed };
  }
  if (isPermitted) return undefined;
  return {
    code: 'unauthenticated',
    detail: 'the join token is missing or wrong; it is in agent.token of the coordinator',
    headers: ['WWW-Authenticate: Bearer realm="berth"'],
  };
}

/** Answers with a problem document (RFC 9457) and ends the connection. */
function answer(socket: Duplex, { code, detail, headers }: HttpRefusal): void {
  const { title, httpStatus: status } = CODES[code];
  const body = JSON.stringify({ type: `urn:berth:error:${code}`, title, status, code, detail });
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Connection: close',
    'Content-Type: application/problem+json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...headers,
  ];
  socket.once('finish', () => socket.destroy());
  socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`);
}
