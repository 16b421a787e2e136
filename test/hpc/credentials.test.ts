import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { credentialOf } from '../../coordinator/hpc/backends/credential.js';
import type { Credential } from '../../coordinator/hpc/backends/means.js';
import { parseTarget } from '../../coordinator/hpc/read-target.js';
import { systemClock } from '../../shared/clock.js';
import { isRefusal } from '../../shared/errors.js';
import { until } from '../kit/until.js';

const NEVER = new AbortController().signal;
const UNWANTED = { kind: 'unavailable', message: /no longer wanted/ };

function credential(source: object): Credential {
  const site = { backend: 'slurm-rest', endpoint: 'http://127.0.0.1:9', user: 'me', stagingRoot: '/tmp/x' };
  const target = parseTarget({ ...site, ...source });
  if (isRefusal(target)) throw new Error(target.detail);
  const env = { PATH: process.env.PATH ?? '' };
  return credentialOf(target, { env, sshAgentSocket: undefined, secret: async () => 'secret', clock: systemClock });
}

/** A provider that lets whoever asks wait, until it gives tokens. */
async function aSlowProvider(t: Test) {
  const provider = { issuer: '', openCount: 0, askedCount: 0, isSlow: true };
  const server = createServer((request, response) => {
    provider.openCount += 1;
    provider.askedCount += 1;
    response.on('close', () => {
      provider.openCount -= 1;
    });
    const { issuer } = provider;
    if (request.url !== '/token') response.end(JSON.stringify({ issuer, token_endpoint: `${issuer}/token` }));
    else if (!provider.isSlow) response.end(JSON.stringify({ access_token: 'a-token', expires_in: 600 }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  provider.issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return provider;
}

t.test(
  'a provider is not waited for once nobody wants its token, and one who gives up takes it from nobody',
  async (t) => {
    const provider = await aSlowProvider(t);
    const tokens = credential({ oidc: { issuer: provider.issuer, clientId: 'berth', clientSecret: 'client' } });
    const [first, second] = [new AbortController(), new AbortController()];
    const asked = [first, second].map((each) => tokens.read(each.signal));
    const refused = asked.map((each) => t.rejects(each, UNWANTED));
    await until('it is asked for a token', () => provider.askedCount === 2);
    first.abort();
    await refused[0];
    t.equal(provider.openCount, 1, 'somebody still waits');
    second.abort();
    await refused[1];
    await until('nobody waits', () => provider.openCount === 0);
    await t.rejects(tokens.read(AbortSignal.abort()), UNWANTED);
    provider.isSlow = false;
    t.equal(await tokens.read(NEVER), 'a-token');
  },
);

t.test('a command that makes a token is ended once nobody wants it', async (t) => {
  const stopped = new AbortController();
  const tokens = credential({ credentialCommand: ['sleep', '600'] });
  const refused = t.rejects(tokens.read(stopped.signal), UNWANTED);
  stopped.abort();
  await refused;
});
