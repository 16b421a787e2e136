import type { Socket } from 'node:net';
import { AppError } from '../../shared/errors.js';
import type { Server } from './context.js';
import type { Streams } from './streams.js';

/** Makes `close` short: streams end, questions that wait are answered, and what arrives meanwhile is turned away. */
export function endWhenClosing(server: Server, streams: Streams): void {
  const sockets = new Set<Socket>();
  let isClosing = false;
  server.server.on('connection', (socket) => {
    if (isClosing) return void socket.destroy();
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.addHook('preClose', async () => {
    isClosing = true;
    streams.close();
    // node:http closes what is idle after a request; a connection that never sent one would keep it waiting.
    for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy();
  });
  server.addHook('onRequest', async () => {
    if (isClosing) throw new AppError('shutting-down', 'the coordinator is stopping');
  });
}
