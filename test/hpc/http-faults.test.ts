import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import type { HpcBackend } from '../../coordinator/hpc/backend.js';
import { openBackend } from '../../coordinator/hpc/backends/open-backend.js';
import { parseTarget } from '../../coordinator/hpc/read-target.js';
import { systemClock } from '../../shared/clock.js';
import { isRefusal } from '../../shared/errors.js';

const signal = new AbortController().signal;

interface Site {
  /** What the site answers when accounting is asked. */
  accounting: RequestListener;
  queue: RequestListener;
  connectionCount: number;
  readonly backend: HpcBackend;
}

/** A slurmrestd as far as its addresses go. */
async function aSite(t: Test): Promise<Site> {
  const answer = (body: object): RequestListener => {
    return (_, response) => void response.end(JSON.stringify(body));
  };
  const server = createServer((request, response) => {
    const path = request.url ?? '';
    if (path.endsWith('/ping')) answer({})(request, response);
    else if (path.startsWith('/slurmdb/')) site.accounting(request, response);
    else site.queue(request, response);
  });
  server.on('connection', () => {
    site.connectionCount += 1;
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const target = parseTarget({
    backend: 'slurm-rest',
    endpoint,
    user: 'me',
    credential: 'token',
    stagingRoot: '/tmp/x',
  });
  if (isRefusal(target)) throw new Error(target.detail);
  const means = { env: {}, sshAgentSocket: undefined, secret: async () => 'token', clock: systemClock };
  const site: Site = {
    ...{ accounting: answer({ jobs: [] }), queue: answer({ jobs: [] }), connectionCount: 0 },
    backend: openBackend(target, means),
  };
  return site;
}

/** Nothing, a reset, half of what was promised, and a piece that is not the last. */
const BREAKS: readonly RequestListener[] = [
  (request) => void request.socket.destroy(),
  (request) => void request.socket.resetAndDestroy(),
  (_, response) => {
    response.writeHead(200, { 'content-length': '100' });
    response.write('{"jobs": [', () => response.destroy());
  },
  (_, response) => {
    response.write('{"jobs": [', () => response.destroy());
  },
];

t.test('an answer that breaks off is a site that is not available', async (t) => {
  for (const breaks of BREAKS) {
    const site = await aSite(t);
    site.queue = breaks;
    await t.rejects(site.backend.statusOf(['1'], signal), { kind: 'unavailable', message: /^127/ });
  }
});

t.test('accounting that cannot be asked concludes nothing, and none there is none', async (t) => {
  const site = await aSite(t);
  const { accounting } = site.backend;
  for (const breaks of BREAKS) {
    site.accounting = breaks;
    t.same(await site.backend.statusOf(['1'], signal), new Map(), 'the states of others are told all the same');
    await t.rejects(Promise.resolve(accounting?.endedOf(['1'], signal)), { kind: 'unavailable', message: /^127/ });
    await t.rejects(site.backend.find('x', signal), { kind: 'unavailable', message: /^127/ });
  }
  site.accounting = (_, response) => void response.writeHead(404).end('Unable find requested URL.');
  t.same(await accounting?.endedOf(['1'], signal), new Map());
});

t.test('no connection is kept from one question to the next, which would find it closed', async (t) => {
  const site = await aSite(t);
  await site.backend.statusOf([], signal);
  const before = site.connectionCount;
  await site.backend.statusOf([], signal);
  await site.backend.statusOf([], signal);
  t.equal(site.connectionCount, before + 2);
});
