/** Limits of the wire; both ends use the same. */
export const WIRE_LIMITS = {
  /** Largest message that either side accepts; a longer one ends the connection. */
  maxFrameBytes: 4 * 1024 * 1024,
  /** Sent and not yet acknowledged frames; at this many the sender closes the connection and starts over. */
  maxUnackedFrames: 4_096,
  /** Their bytes; at this many the connection is closed likewise. */
  maxUnackedBytes: 64 * 1024 * 1024,
  /** Lists of orders and reports that make a longer frame are split into several. */
  splitFrameBytes: 256 * 1024,
  /** Unacknowledged frames are sent again when the peer's acknowledgement has not moved for this long. */
  resendAfterMs: 10_000,
  /** A bare acknowledgement goes out at most this long after a frame was taken over. */
  ackDelayMs: 20,
  pingEveryMs: 15_000,
  /** A peer that gave no sign of life for this long is dead. */
  deadAfterMs: 45_000,
  /** Log bytes on their way: small enough that a control frame behind them is not late on a slow link. */
  logWindowBytes: 128 * 1024,
  logChunkBytes: 32 * 1024,
  /** From opening the channel to the end of the handshake. */
  handshakeMs: 10_000,
  heartbeatMs: 5_000,
  /** The same while an attempt is being prepared, for people watch that. */
  preparingHeartbeatMs: 1_000,
  /** Attempts of which a heartbeat tells how far they are prepared. */
  maxPreparing: 200,
} as const;
