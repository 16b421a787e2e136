import type { Socket } from 'node:net';
import { AppError } from '../../shared/errors.js';
import type { Server } from './context.js';
import type { Streams } from './streams.js';

/** Makes `close` short: streams end, questions that wait are answered, and what arrives meanwhile is turned away. */
export function endWhenClosing(server: Server, streams: Streams): void {
  const silent = new Set<Socket>();
  let isClosing = false;
  const opened = (socket: Socket): void => {
    if (isClosing) return void socket.destroy();
    silent.add(socket);
    socket.once('close', () => silent.delete(socket));
  };
  // With TLS, requests name the socket of this event and not the one beneath.
  server.server.on(isSecured(server) ? 'secureConnection' : 'connection', opened);
  server.server.on('request', ({ socket }) => silent.delete(socket));
  server.server.on('upgrade', ({ socket }) => silent.delete(socket));
  server.addHook('preClose', async () => {
    isClosing = true;
    streams.close();
    // node:http closes what is idle after a request; a connection that never sent one would keep it waiting.
    for (const socket of silent) socket.destroy();
  });
  server.addHook('onRequest', async () => {
    if (isClosing) throw new AppError('shutting-down', 'the coordinator is stopping');
  });
}

function isSecured({ server }: Server): boolean {
  return 'setSecureContext' in server;
}
