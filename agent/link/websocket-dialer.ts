import { WebSocket } from 'ws';
import { AppError } from '../../shared/errors.js';
import { isUntrusted } from '../../shared/transport.js';
import { WIRE_LIMITS } from '../../shared/wire/limits.js';
import { AGENT_PATH, WEBSOCKET_OPTIONS, websocketChannel } from '../../shared/wire/websocket-channel.js';
import type { Dialer } from './dialer.js';

export interface WebsocketDialerOptions {
  /** Where the coordinator listens: http, https, ws or wss; a path is kept, for a proxy that serves it below one. */
  readonly url: string;
  /** The join token. */
  readonly token: string;
  /** Certificates to trust, PEM; the system's own when absent. */
  readonly ca?: string | undefined;
}

/** Dials the coordinator's agent endpoint. Throws `invalid-request` for a URL that could never work. */
export function websocketDialer({ url, token, ca }: WebsocketDialerOptions): Dialer {
  const endpoint = endpointOf(url);
  return (signal) =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(endpoint, {
        ...WEBSOCKET_OPTIONS,
        ...(ca === undefined ? {} : { ca }),
        headers: { authorization: `Bearer ${token}` },
        handshakeTimeout: WIRE_LIMITS.handshakeMs,
      });
      const abandon = (): void => socket.terminate();
      signal.addEventListener('abort', abandon, { once: true });
      if (signal.aborted) abandon();
      // Made before the socket is open, so that no early message is missed.
      const channel = websocketChannel(socket);
      socket.once('open', () => {
        signal.removeEventListener('abort', abandon);
        resolve(channel);
      });
      socket.once('unexpected-response', (_request, response) => {
        reject(refusalOf(response.statusCode, endpoint));
        abandon();
      });
      socket.once('error', (cause) => reject(unreachable(endpoint, cause)));
      socket.once('close', () => signal.removeEventListener('abort', abandon));
    });
}

const SCHEMES: Readonly<Record<string, string>> = { 'http:': 'ws:', 'https:': 'wss:', 'ws:': 'ws:', 'wss:': 'wss:' };

function endpointOf(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const scheme = parsed && SCHEMES[parsed.protocol];
  if (parsed === undefined || scheme === undefined) {
    throw new AppError('invalid-request', `"${url}" is no address of a coordinator`, {
      hint: 'write it like https://berth.example.org or http://10.0.0.5:7171',
    });
  }
  return `${scheme}//${parsed.host}${parsed.pathname.replace(/\/+$/, '')}${AGENT_PATH}`;
}

const UNAUTHORIZED = 401;
const FORBIDDEN = 403;
const UPGRADE_REQUIRED = 426;

function refusalOf(status: number | undefined, endpoint: string): AppError {
  switch (status) {
    case UNAUTHORIZED:
    case FORBIDDEN:
      return new AppError('unauthenticated', `${endpoint} refused the join token`, {
        hint: 'copy agent.token from the state directory of the coordinator',
      });
    case UPGRADE_REQUIRED:
      return new AppError('protocol-version', `${endpoint} speaks another protocol`, {
        hint: 'run an agent and a coordinator of neighbouring versions',
      });
    default:
      return new AppError('unreachable', `${endpoint} answered with HTTP status ${status}`, {
        hint: 'check that the URL leads to a coordinator',
      });
  }
}

function unreachable(endpoint: string, cause: Error): AppError {
  return new AppError('unreachable', `${endpoint} cannot be reached: ${cause.message}`, {
    cause,
    ...(isUntrusted(cause) ? { hint: 'name the certificate of its issuer with --ca-file' } : {}),
  });
}
