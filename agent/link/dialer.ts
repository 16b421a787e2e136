import type { Channel } from '../../shared/wire/channel.js';

/**
 * Opens a channel to the coordinator. Not retried here: the caller waits and dials again.
 *
 * Errors: `unreachable` (try again), `unauthenticated` (the token is wrong), `protocol-version` (the other side does
 * not speak this protocol at all). An aborted attempt rejects with `unreachable`.
 */
export type Dialer = (signal: AbortSignal) => Promise<Channel>;
