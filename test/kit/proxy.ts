import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Test } from 'tap';

/** A reverse proxy on loopback that may answer by itself. */
export interface Proxy {
  readonly url: string;
  /** An error page with this status from now on; undefined: what is behind it answers. */
  answerWith(status: number | undefined): void;
  /** While true, what is posted arrives behind it, and nobody learns what came of it. */
  losesAnswers: boolean;
}

export async function startProxy(t: Pick<Test, 'teardown'>, behind: string): Promise<Proxy> {
  let status: number | undefined;
  const proxy: Proxy = {
    url: '',
    answerWith: (next) => {
      status = next;
    },
    losesAnswers: false,
  };
  const server = createServer((incoming, outgoing) => {
    if (status !== undefined) {
      outgoing.writeHead(status, { 'content-type': 'text/html' }).end('<h1>Bad gateway</h1>');
      return;
    }
    const { method, headers } = incoming;
    const onward = request(`${behind}${incoming.url}`, { method, headers, agent: false }, (answer) => {
      if (proxy.losesAnswers && method === 'POST') return void answer.resume();
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(outgoing);
    });
    onward.on('error', () => outgoing.destroy());
    incoming.pipe(onward);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return Object.assign(proxy, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
}
