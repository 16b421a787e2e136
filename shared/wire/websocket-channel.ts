import type { RawData, WebSocket } from 'ws';
import { type Channel, type ChannelListener, CLOSE } from './channel.js';
import { WIRE_LIMITS } from './limits.js';

/** Messages that may come before there is a listener; the handshake allows one. */
const MAX_EARLY_MESSAGES = 64;
/** RFC 6455: a close frame has room for this much text. */
const MAX_REASON_BYTES = 123;
const OPEN = 1;

/** Where agents connect. */
export const AGENT_PATH = '/v1/agent';

/** How every WebSocket of ours is made, at both ends. */
export const WEBSOCKET_OPTIONS = {
  perMessageDeflate: false,
  maxPayload: WIRE_LIMITS.maxFrameBytes,
  /** A peer that does not answer the farewell in this time is not waited for; else it would hold up a stop for 30 s. */
  closeTimeout: 3_000,
};

/** A `ws` socket, open or about to open, as a channel. Both ends use it; only binary messages are allowed. */
export function websocketChannel(socket: WebSocket): Channel {
  const early: ((listener: ChannelListener) => void)[] = [];
  let listener: ChannelListener | undefined;
  let failure: Error | undefined;
  const deliver = (event: (listener: ChannelListener) => void): void => {
    if (listener !== undefined) event(listener);
    else early.push(event);
  };
  socket.on('message', (bytes, isBinary) => {
    if (!isBinary) socket.close(CLOSE.protocolViolation, 'a text message');
    else if (early.length >= MAX_EARLY_MESSAGES) socket.close(CLOSE.overflow, 'too many messages at once');
    else deliver((to) => to.message(bytesOf(bytes)));
  });
  socket.on('ping', () => listener?.alive());
  socket.on('pong', () => listener?.alive());
  // An error is always followed by close, which tells it.
  socket.on('error', (error) => {
    failure = error;
  });
  socket.on('close', (code, reason) => deliver((to) => to.closed(code, failure?.message ?? reason.toString())));
  return {
    send(bytes) {
      if (socket.readyState === OPEN) socket.send(bytes, { binary: true });
    },
    ping() {
      if (socket.readyState === OPEN) socket.ping();
    },
    close(code, reason) {
      // A dead peer would not answer the farewell.
      if (code === CLOSE.silent) socket.terminate();
      else socket.close(code, clipped(reason));
    },
    bufferedBytes: () => socket.bufferedAmount,
    listen(to) {
      listener = to;
      for (const event of early.splice(0)) event(to);
    },
  };
}

function bytesOf(message: RawData): Uint8Array {
  if (Array.isArray(message)) return Buffer.concat(message);
  return message instanceof ArrayBuffer ? new Uint8Array(message) : message;
}

/** The longest beginning that a close frame has room for, without half a character at its end. */
function clipped(reason: string): string {
  const { read } = new TextEncoder().encodeInto(reason, new Uint8Array(MAX_REASON_BYTES));
  return reason.slice(0, read);
}
