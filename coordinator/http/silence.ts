import type { Server } from './context.js';

/** A body of which nothing arrives for so long is given up; an answer may take as long as it needs. */
export const MAX_SILENCE_MS = 60_000;

/**
 * Ends connections on which a request's body has stopped arriving.
 *
 * A limit on the whole request, which node:http has too, would cut off long uploads however well they move. Heads have
 * node's own limit.
 */
export function limitSilence(server: Server): void {
  server.addHook('onRequest', async ({ raw }) => {
    const { socket } = raw;
    if (raw.headers['content-length'] === undefined && raw.headers['transfer-encoding'] === undefined) return;
    const giveUp = (): void => void socket.destroy();
    socket.setTimeout(MAX_SILENCE_MS, giveUp);
    // Later the time is node's, which closes connections that wait for a next request.
    raw.once('end', () => socket.setTimeout(0));
    raw.once('close', () => socket.removeListener('timeout', giveUp));
  });
}
