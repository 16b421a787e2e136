import { createSocket } from 'node:dgram';
import { hostname } from 'node:os';

const DEFAULT_PORTS: Readonly<Record<string, number>> = { 'http:': 80, 'ws:': 80, 'https:': 443, 'wss:': 443 };

/**
 * The address of this machine on the network that leads to the coordinator, where other nodes mostly reach it too;
 * its host name when there is none.
 *
 * Nothing is sent: connecting a datagram socket only asks the kernel for the route. Never fails.
 */
export function addressTowards(url: string): Promise<string> {
  const { hostname: host, port, protocol } = new URL(url);
  const bare = host.replace(/^\[|\]$/g, '');
  const socket = createSocket(bare.includes(':') ? 'udp6' : 'udp4');
  return new Promise((resolve) => {
    const settle = (address: string): void => {
      socket.removeAllListeners();
      socket.close();
      resolve(address);
    };
    socket.once('error', () => settle(hostname()));
    socket.connect(Number(port) || (DEFAULT_PORTS[protocol] ?? 80), bare, () => settle(socket.address().address));
  });
}
