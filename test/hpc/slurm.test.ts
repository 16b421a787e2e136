import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import ssh2 from 'ssh2';
import t, { type Test } from 'tap';
import type { HpcBackend, HpcError } from '../../coordinator/hpc/backend.js';
import { openBackend } from '../../coordinator/hpc/backends/open-backend.js';
import { parseTarget } from '../../coordinator/hpc/read-target.js';
import type { HpcErrorKind } from '../../coordinator/hpc/remote-job.js';
import type { HpcTarget } from '../../coordinator/hpc/target.js';
import { systemClock } from '../../shared/clock.js';
import { isRefusal } from '../../shared/errors.js';
import { hpcBackendConformance } from '../conformance/hpc-backend.js';
import type { HpcBench } from '../kit/hpc-site.js';
import { OIDC_TOKEN_SECONDS, type OidcProvider, startOidcProvider } from '../kit/oidc-provider.js';
import { startProxy } from '../kit/proxy.js';
import { type Slurm, slurmTests, startSlurm } from '../kit/slurm.js';
import { startSshd } from '../kit/sshd.js';
import { until } from '../kit/until.js';

t.setTimeout(300_000);
t.jobs = 3;

const signal = new AbortController().signal;

/** How much later it is for backends than it is. */
let laterMs = 0;
const clock = { ...systemClock, now: () => systemClock.now() + laterMs };

function openWith(env: Readonly<Record<string, string>>, secrets: Readonly<Record<string, string>>) {
  return (target: HpcTarget): HpcBackend => {
    const secret = async (name: string): Promise<string> => secrets[name] ?? '';
    return openBackend(target, { env, sshAgentSocket: undefined, secret, clock });
  };
}

/** The kind of error; undefined when there was none. */
function failureOf(asked: Promise<unknown>): Promise<HpcErrorKind | undefined> {
  return asked.then(
    () => undefined,
    (error: unknown) => (error as HpcError).kind,
  );
}

t.test('Slurm by the tools of this machine', { ...slurmTests, buffered: true }, async (t) => {
  const slurm = startSlurm(t, { minJobAgeSeconds: 6 });
  const bench: HpcBench = {
    target: { backend: 'slurm-local', partition: 'main' },
    stagingRoot: `${slurm.folder}/jobs`,
    open: openWith(slurm.env, {}),
    closedPartition: 'closed',
    estimates: true,
    forget: slurm.forget,
    outage: { begin: slurm.stopController, end: slurm.startController },
  };
  hpcBackendConformance(t, () => bench);
});

t.test('Slurm by its tools over SSH', { ...slurmTests, buffered: true }, async (t) => {
  const slurm = startSlurm(t);
  const sshd = await startSshd(t, { SLURM_CONF: slurm.env.SLURM_CONF ?? '' });
  const ssh = { host: '127.0.0.1', port: sshd.port, user: sshd.user, hostKey: sshd.hostKey, credential: 'key' };
  const target = { backend: 'slurm-ssh', partition: 'main', ssh };
  const open = openWith({}, { key: sshd.privateKey, other: ssh2.utils.generateKeyPairSync('ed25519').private });
  const openTo = (change: object): HpcBackend => {
    const parsed = parseTarget({ ...target, stagingRoot: '/tmp/x', ssh: { ...ssh, ...change } });
    if (isRefusal(parsed)) throw new Error(parsed.detail);
    return open(parsed);
  };
  const bench: HpcBench = {
    target,
    stagingRoot: `${slurm.folder}/jobs`,
    open,
    closedPartition: 'closed',
    estimates: true,
    outage: { begin: sshd.stop, end: sshd.start },
  };
  hpcBackendConformance(t, () => bench);

  t.test('a broken connection is made anew', async (t) => {
    const backend = openTo({});
    t.same(await backend.statusOf(['999999'], signal), new Map());
    sshd.dropConnections();
    await until(
      'it works again',
      async () => (await backend.statusOf(['1'], signal).catch(() => undefined)) !== undefined,
    );
    await backend.close();
  });

  t.test('a host with another key is not talked to, and one that known_hosts has is', async (t) => {
    const wrong = openTo({ hostKey: `SHA256:${'A'.repeat(43)}` });
    await t.rejects(wrong.find('x', signal), {
      kind: 'configuration',
      message: /the key of 127.0.0.1 is not the configured one/,
    });
    const known = openTo({ hostKey: undefined, knownHosts: sshd.knownHosts });
    t.same(await known.find('x', signal), []);
    const stranger = openTo({ host: 'localhost', hostKey: undefined, knownHosts: sshd.knownHosts });
    await t.rejects(stranger.find('x', signal), { kind: 'configuration', message: /does not vouch for localhost/ });
    await Promise.all([wrong, known, stranger].map((each) => each.close()));
  });

  t.test('a key that is not let in, or is none, is a matter of credentials', async (t) => {
    for (const credential of ['other', 'missing']) {
      const backend = openTo({ credential });
      t.equal(await failureOf(backend.find('x', signal)), 'credentials', credential);
      await backend.close();
    }
  });
});

t.test('Slurm over slurmrestd', { ...slurmTests, buffered: true }, async (t) => {
  const provider = await startOidcProvider(t, userInfo().username);
  const slurm = startSlurm(t, { rest: true, minJobAgeSeconds: 6, jwksFile: provider.jwksFile });
  const token = (seconds: number): string =>
    slurm
      .tool('scontrol', 'token', `lifespan=${seconds}`, `username=${userInfo().username}`)
      .trim()
      .replace('SLURM_JWT=', '');
  const secrets: Record<string, string> = { token: token(3_600) };
  const proxy = await startProxy(t, slurm.restUrl);
  const target = {
    backend: 'slurm-rest',
    endpoint: proxy.url,
    user: userInfo().username,
    credential: 'token',
    partition: 'main',
  };
  const open = openWith(slurm.env, secrets);
  const openAs = (change: object): HpcBackend => {
    const parsed = parseTarget({ ...target, stagingRoot: `${slurm.folder}/jobs`, ...change });
    if (isRefusal(parsed)) throw new Error(parsed.detail);
    return open(parsed);
  };
  const bench: HpcBench = {
    target,
    stagingRoot: `${slurm.folder}/jobs`,
    open,
    closedPartition: 'closed',
    forget: slurm.forget,
    outage: { begin: slurm.stopController, end: slurm.startController },
    differs: { submitsTwice: true },
  };
  hpcBackendConformance(t, () => bench);

  t.test('a token that has expired is a matter of credentials, and a new one is taken at once', async (t) => {
    const backend = openAs({});
    await backend.find('x', signal);
    secrets.token = token(1);
    await until('it has expired', async () => (await failureOf(backend.find('x', signal))) === 'credentials');
    secrets.token = 'nonsense';
    t.equal(await failureOf(backend.find('x', signal)), 'credentials');
    secrets.token = token(3_600);
    t.same(await backend.find('x', signal), []);
  });

  t.test('a token can be had by a command, which runs again when it was not taken', (t) =>
    byCommand(t, { slurm, openAs }),
  );

  t.test('tokens of an OpenID provider are taken, and each is kept until shortly before its end', (t) =>
    byOidc(t, { provider, secrets, openAs }),
  );

  t.test('an error page in place of an answer is a site that is not available', async (t) => {
    const backend = openAs({});
    for (const status of [500, 502]) {
      proxy.answerWith(status);
      t.equal(await failureOf(backend.statusOf(['1'], signal)), 'unavailable', String(status));
    }
    proxy.answerWith(undefined);
    t.same(await backend.statusOf(['999999'], signal), new Map());
    t.equal(await failureOf(openAs({ endpoint: `${proxy.url}/other` }).find('x', signal)), 'configuration');
  });
});

interface CommandBench {
  readonly slurm: Slurm;
  openAs(change: object): HpcBackend;
}

async function byCommand(t: Test, { slurm, openAs }: CommandBench): Promise<void> {
  const made = join(slurm.folder, 'made');
  const script = `echo x >>${made}; if [ $(wc -l <${made}) = 1 ]; then echo bad; else scontrol token lifespan=60; fi`;
  const backend = openAs({ credential: undefined, credentialCommand: ['sh', '-c', script] });
  t.same(await backend.find('x', signal), []);
  t.same(await backend.find('y', signal), []);
  t.equal(readFileSync(made, 'utf8'), 'x\nx\n', 'and is not asked each time');
  const broken = openAs({ credential: undefined, credentialCommand: ['sh', '-c', 'echo no ticket >&2; exit 1'] });
  await t.rejects(broken.find('x', signal), { kind: 'credentials', message: /no ticket/ });
}

interface OidcBench {
  readonly provider: OidcProvider;
  readonly secrets: Record<string, string>;
  openAs(change: object): HpcBackend;
}

async function byOidc(t: Test, { provider, secrets, openAs }: OidcBench): Promise<void> {
  const oidc = { issuer: provider.issuer, clientId: 'berth', scope: 'slurm' };
  secrets.client = `${provider.clientSecret}\n`;
  secrets.refresh = await provider.makeRefreshToken();
  for (const own of [{ clientSecret: 'client' }, { clientSecret: 'client', refreshToken: 'refresh' }]) {
    const before = provider.askedCount;
    const backend = openAs({ credential: undefined, oidc: { ...oidc, ...own } });
    t.match(await backend.check(signal), { partitions: ['main', 'closed'] });
    t.same(await backend.find('x', signal), []);
    t.equal(provider.askedCount - before, 1);
    for (let count = 2; count < 4; count += 1) {
      laterMs += OIDC_TOKEN_SECONDS * 600;
      t.same(await backend.find('x', signal), []);
      t.equal(provider.askedCount - before, count, 'one more, also by a refresh token that was replaced');
    }
    provider.isDown = true;
    t.same(await backend.find('x', signal), [], 'nothing is asked of it meanwhile');
    laterMs += OIDC_TOKEN_SECONDS * 1_000;
    await t.rejects(backend.find('x', signal), { kind: 'credentials', message: /gives no token: it answers 503/ });
    provider.isDown = false;
    t.same(await backend.find('x', signal), []);
  }
  secrets.client = 'another';
  const stranger = openAs({ credential: undefined, oidc: { ...oidc, clientSecret: 'client' } });
  await t.rejects(stranger.find('x', signal), { kind: 'credentials', message: /invalid_client/ });
  const elsewhere = { ...oidc, issuer: `${provider.issuer}/elsewhere`, clientSecret: 'client' };
  t.equal(await failureOf(openAs({ credential: undefined, oidc: elsewhere }).find('x', signal)), 'configuration');
}
