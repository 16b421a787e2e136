/**
 * A duplex carrier of whole binary messages: a WebSocket, or the simulator's seeded network.
 *
 * `send` after close does nothing. Delivery is not promised; `Session` makes it so.
 */
export interface Channel {
  send(bytes: Uint8Array): void;
  /** Asks the peer for a sign of life, which arrives as `alive`. */
  ping(): void;
  /** Ends the channel; `closed` follows. Idempotent. */
  close(code: number, reason: string): void;
  /** Bytes handed to `send` that have not left this process. */
  bufferedBytes(): number;
  /** Sets the one listener; messages that came before it are delivered to it first, in order. */
  listen(listener: ChannelListener): void;
}

export interface ChannelListener {
  message(bytes: Uint8Array): void;
  /** A ping or pong came from the peer. */
  alive(): void;
  /** Exactly once. */
  closed(code: number, reason: string): void;
}

/** Close codes of ours, in the range that RFC 6455 leaves to applications. */
export const CLOSE = {
  normal: 1000,
  goingAway: 1001,
  tooBig: 1009,
  protocolViolation: 4000,
  silent: 4001,
  refused: 4002,
  replaced: 4003,
  overflow: 4004,
} as const;
