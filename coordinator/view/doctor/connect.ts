import { createConnection, type NetConnectOpts } from 'node:net';
import type { Clock } from '../../../shared/clock.js';

/** Why a server does not take connections; undefined when it does. */
export function connectFault(server: NetConnectOpts, clock: Clock, limitMs: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = createConnection(server);
    const settle = (fault: string | undefined): void => {
      cancel();
      socket.destroy();
      resolve(fault);
    };
    const cancel = clock.after(limitMs, () => settle('ETIMEDOUT'));
    socket.on('connect', () => settle(undefined));
    socket.on('error', (error: NodeJS.ErrnoException) => settle(error.code ?? error.message));
  });
}
