import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { WebSocket } from 'ws';
import { websocketDialer } from '../../agent/link/websocket-dialer.js';
import { JoinTickets } from '../../coordinator/gateway/join-tickets.js';
import { openTokens, tokenCheck } from '../../coordinator/gateway/tokens.js';
import { attachAgentUpgrade } from '../../coordinator/gateway/upgrade.js';
import { type LogFields, silentLog } from '../../shared/log.js';
import { systemRandom } from '../../shared/random.js';
import { type Channel, CLOSE } from '../../shared/wire/channel.js';
import { WIRE_LIMITS } from '../../shared/wire/limits.js';
import { AGENT_PATH } from '../../shared/wire/websocket-channel.js';
import { Peer } from '../kit/peer.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { id } from '../kit/wire-samples.js';

const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8);

t.test('tokens are made once, private, and stay the same', async (t) => {
  const stateDir = temporaryFolder(t);
  const warnings: LogFields[] = [];
  const log = { ...silentLog, warn: (_: string, fields: LogFields = {}) => void warnings.push(fields) };
  const options = { stateDir, random: systemRandom, log };
  await Promise.all([openTokens(options), openTokens(options)]);
  const path = join(stateDir, 'agent.token');
  const token = readFileSync(path, 'utf8').trim();
  t.match(token, /^berth_agent_[0-9a-f]{64}$/);
  t.strictSame(readdirSync(stateDir).toSorted(), ['admin.token', 'agent.token', 'ticket.token']);
  t.equal(modeOf(path), '600');
  writeFileSync(path, `${token}\n`, { mode: 0o644 });
  chmodSync(path, 0o644);
  const tokens = await openTokens(options);
  t.equal(modeOf(path), '600');
  t.strictSame(warnings, [{ path }]);
  t.ok(tokens.isAgentToken(token));
  t.notOk(tokens.isAdminToken(token));
  t.notOk(tokens.isAgentToken(''));
  writeFileSync(path, 'short');
  await t.rejects(openTokens(options), { code: 'store-corrupt', message: /agent\.token holds no usable token/ });
});

/** The real gateway behind a real HTTP server on loopback, and the agent's dialer for it. */
async function onLoopback(t: Test): Promise<{ readonly server: Server; readonly url: string; readonly peers: Peer[] }> {
  const server = createServer();
  const peers: Peer[] = [];
  attachAgentUpgrade(server, {
    gateway: { accept: (channel) => void peers.push(new Peer(channel)) },
    isAgentToken: tokenCheck('right'),
    tickets: new JoinTickets('key'),
    log: silentLog,
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const { session } of peers) session.close(CLOSE.normal, 'over');
    server.close();
  });
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, peers };
}

const dialOnce = (url: string, token = 'right'): Promise<Channel> =>
  websocketDialer({ url, token })(AbortSignal.timeout(10_000));

const soon = async (isTrue: () => boolean): Promise<void> => {
  while (!isTrue()) await new Promise((resolve) => setTimeout(resolve, 2));
};

t.test('over real sockets, sessions talk both ways and a farewell arrives with its code', async (t) => {
  const { url, peers } = await onLoopback(t);
  const agent = new Peer(await dialOnce(`${url}/`));
  agent.say({ kind: 'departing', reason: 'größer' });
  await soon(() => peers[0]?.heard.length === 1);
  t.strictSame(peers[0]?.heard, [{ kind: 'departing', reason: 'größer' }]);
  t.equal(await agent.session.probe(5_000), true);
  peers[0]?.say({ kind: 'orders', orders: { start: [], stop: [{ allocationId: id(1), reason: 'drained' }] } });
  peers[0]?.session.close(CLOSE.replaced, 'ü'.repeat(100));
  await soon(() => agent.closed !== undefined);
  t.equal(agent.last('orders')?.orders.stop.length, 1);
  t.strictSame(agent.closed, { code: CLOSE.replaced, reason: 'ü'.repeat(61) });
});

t.test('text, and a message over the limit, end the connection', async (t) => {
  const { url, peers } = await onLoopback(t);
  for (const message of ['hello', Buffer.alloc(WIRE_LIMITS.maxFrameBytes + 1)]) {
    const socket = new WebSocket(`${url}${AGENT_PATH}`, { headers: { authorization: 'Bearer right' } });
    await new Promise((resolve) => socket.once('open', resolve));
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.send(message);
    t.equal(await closed, typeof message === 'string' ? CLOSE.protocolViolation : CLOSE.tooBig);
  }
  await soon(() => peers.every((peer) => peer.closed !== undefined));
  t.equal(peers.length, 2);
});

t.test('whoever has no right to connect is told why over HTTP', async (t) => {
  const { url, peers } = await onLoopback(t);
  await t.rejects(dialOnce(url, 'wrong'), { code: 'unauthenticated', hint: /agent\.token/ });
  await t.rejects(dialOnce(`${url}/elsewhere`), { code: 'unreachable', message: /HTTP status 404/ });
  const answer = await rawUpgrade(url, 'Sec-WebSocket-Version: 8');
  t.match(answer, /^HTTP\/1\.1 426 Upgrade Required\r\n/);
  t.match(answer, /Sec-WebSocket-Version: 13\r\n/);
  t.match(answer, /"code":"protocol-version"/);
  t.equal(peers.length, 0);
});

/** The whole answer to a hand-made upgrade request. */
function rawUpgrade(url: string, header: string): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect(Number(port), hostname);
    socket.on('data', (bytes) => {
      answer += bytes;
    });
    socket.on('end', () => resolve(answer)).on('error', reject);
    socket.write(
      `GET ${AGENT_PATH} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${header}\r\n\r\n`,
    );
  });
}

t.test('a dialer tells what can be tried again from what cannot', async (t) => {
  t.throws(() => websocketDialer({ url: 'berth.example.org:1', token: 'x' }), { code: 'invalid-request' });
  t.throws(() => websocketDialer({ url: 'ftp://berth.example.org', token: 'x' }), { code: 'invalid-request' });
  const { server, url } = await onLoopback(t);
  const status = { current: 426 };
  server.removeAllListeners('upgrade');
  server.on('upgrade', (_request, socket) => {
    if (status.current > 0) socket.end(`HTTP/1.1 ${status.current} No\r\nContent-Length: 0\r\n\r\n`);
  });
  await t.rejects(dialOnce(url), { code: 'protocol-version' });
  status.current = 503;
  await t.rejects(dialOnce(url), { code: 'unreachable' });
  status.current = 0;
  const abort = new AbortController();
  const dialing = websocketDialer({ url, token: 'right' })(abort.signal);
  setTimeout(() => abort.abort(), 20);
  await t.rejects(dialing, { code: 'unreachable' });
  server.closeAllConnections();
  server.close();
  await t.rejects(dialOnce(url), { code: 'unreachable', message: /ECONNREFUSED/ });
});
