import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import t from 'tap';
import { BERTH_ENTRY, type CommandResult, runCommand } from '../kit/command.js';
import { Daemon } from '../kit/daemon.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { until } from '../kit/until.js';

// The real programs over HTTPS, under an authority that openssl makes here.
const folder = temporaryFolder(t);
const at = (name: string): string => join(folder, name);
const stateDir = at('coordinator');
const environment = { PATH: process.env.PATH ?? '/usr/bin:/bin', HOME: at('home') };
mkdirSync(at('home'));

function authority(name: string): void {
  openssl(
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '2',
    '-subj',
    `/CN=${name}`,
    '-keyout',
    at(`${name}.key`),
    '-out',
    at(`${name}.pem`),
  );
}

function certificate(name: string, issuer: string): void {
  openssl(
    'req',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-subj',
    `/CN=${name}`,
    '-keyout',
    at(`${name}.key`),
    '-out',
    at(`${name}.csr`),
  );
  writeFileSync(at('names'), 'subjectAltName=IP:127.0.0.1\n');
  openssl(
    'x509',
    '-req',
    '-in',
    at(`${name}.csr`),
    '-CA',
    at(`${issuer}.pem`),
    '-CAkey',
    at(`${issuer}.key`),
    '-CAcreateserial',
    '-days',
    '2',
    '-extfile',
    at('names'),
    '-out',
    at(`${name}.pem`),
  );
}

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { stdio: 'pipe' });
}

for (const name of ['authority', 'stranger']) authority(name);
certificate('server', 'authority');

const url = (): string => (JSON.parse(readFileSync(join(stateDir, 'coordinator.json'), 'utf8')) as { url: string }).url;

const tls = ['--tls-cert', at('server.pem'), '--tls-key', at('server.key')];
const trust = ['--public-ca', at('authority.pem')];

const coordinatorWith = (name: string, ...flags: string[]): Daemon =>
  new Daemon({
    name,
    argv: [process.execPath, BERTH_ENTRY, 'coordinator', '--state-dir', stateDir, ...flags],
    env: environment,
    logFile: at(`${name}.log`),
    isReady: async () => readFileSync(at(`${name}.log`), 'utf8').includes('coordinator is serving'),
  });

function agentWith(name: string, ca: string): Daemon {
  const files = ['--state-dir', at(name), '--token-file', join(stateDir, 'agent.token'), '--ca-file', at(ca)];
  return new Daemon({
    name,
    argv: [process.execPath, BERTH_ENTRY, 'agent', '--url', url(), '--name', name, '--cpus', '2', ...files],
    env: environment,
    logFile: at(`${name}.log`),
    isReady: async () => readFileSync(at(`${name}.log`), 'utf8').includes('connected'),
  });
}

function berth(args: readonly string[], env: Record<string, string> = {}, input = ''): Promise<CommandResult> {
  const trusting = { BERTH_STATE_DIR: stateDir, BERTH_CA_FILE: at('authority.pem') };
  return runCommand([process.execPath, BERTH_ENTRY, ...args], { env: { ...environment, ...trusting, ...env }, input });
}

t.test('client, coordinator and agent talk over HTTPS alone, and trust nobody else', async (t) => {
  const coordinator = coordinatorWith('secure', '--listen', '127.0.0.1:0', ...tls, ...trust);
  t.teardown(() => coordinator.stop());
  await coordinator.start();
  t.match(url(), /^https:\/\/127\.0\.0\.1:\d+$/);

  const stranger = agentWith('n2', 'stranger.pem');
  t.teardown(() => stranger.stop());
  stranger.launch();
  await until('an agent that trusts another authority says why', () => /--ca-file.*not connected/.test(stranger.log));
  const agent = agentWith('n1', 'authority.pem');
  t.teardown(() => agent.stop());
  await agent.start();

  t.match(await berth(['run', '--', 'echo', 'hello']), { exitCode: 0, stdout: 'hello\n' });
  t.match(await berth(['nodes', '-o', 'name']), { stdout: 'n1\n' });
  t.match(await berth(['secrets', 'set', 'a'], {}, 'value'), { exitCode: 0, stderr: '' });
  // Larger than what one read or one TLS record takes.
  const scan = 'scan\n'.repeat(200_000);
  const put = await berth(['put', '-'], {}, scan);
  t.match(put, { exitCode: 0, stdout: /^berth:\/\/sha256:/ });
  const steps = [
    {
      name: 'copy',
      command: ['sh', '-c', 'wc -c <in/scan; cat in/scan in/scan > twice'],
      inputs: [{ from: put.stdout.trim(), to: 'in/scan' }],
      outputs: [{ path: 'twice', required: true }],
    },
    {
      name: 'count',
      command: ['sh', '-c', 'wc -c <twice >size'],
      inputs: [{ from: { step: 'copy', path: 'twice' }, to: 'twice' }],
      outputs: [{ path: 'size', required: true }],
    },
  ];
  writeFileSync(at('files.yaml'), JSON.stringify({ steps }));
  t.match(await berth(['submit', at('files.yaml'), '--wait']), { exitCode: 0 });
  t.match(await berth(['logs', 'last', '--stdout', '--task', 'copy.0']), { stdout: `${scan.length}\n` });
  t.equal((await berth(['get', 'last', 'size', '-o', '-'])).stdout, `${2 * scan.length}\n`);
  t.match(await berth(['put', '-'], { BERTH_CA_FILE: at('stranger.pem') }, 'x'), { exitCode: 69 });

  t.match(await berth(['ls'], { BERTH_CA_FILE: at('stranger.pem') }), { exitCode: 69, stderr: /BERTH_CA_FILE/ });
  t.match(await berth(['ls'], { BERTH_CA_FILE: at('none.pem') }), { exitCode: 64, stderr: /none\.pem/ });
  t.equal(await plainStatus(url().replace('https:', 'http:')), undefined, 'plain HTTP gets no answer');
  t.notMatch(coordinator.log, /NOT ENCRYPTED/);

  const pool = { name: 'made', provider: 'process', node: { cpus: 1, memory: '64MiB' }, max: 1 };
  writeFileSync(at('pools.yaml'), JSON.stringify({ pools: [pool] }));
  t.match(await berth(['pools', 'apply', at('pools.yaml')]), { exitCode: 0 });
  const there = ['--constraint', 'label:pool=made', '--memory', '16MiB'];
  t.match(
    await berth(['run', '--wait', ...there, '--', 'true']),
    { exitCode: 0 },
    'a machine that is made trusts it too',
  );
  t.match(await berth(['pools', 'rm', 'made']), { exitCode: 0 });
  await until('it is given up', async () => !/made/.test((await berth(['pools', '-o', 'name'])).stdout));

  const idle = connectTls({ host: '127.0.0.1', port: Number(new URL(url()).port), rejectUnauthorized: false });
  idle.on('error', () => {});
  await new Promise((resolve) => idle.once('secureConnect', resolve));
  const stoppingAt = Date.now();
  t.equal(await coordinator.stop(), 0);
  t.ok(Date.now() - stoppingAt < 5_000, 'a connection that asks nothing does not hold up the end');
  idle.destroy();
});

/** The status of a plain request; undefined when the connection is ended without one. */
function plainStatus(address: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    const sent = request(`${address}/healthz`, (response) => resolve(response.statusCode));
    sent.on('error', () => resolve(undefined));
    sent.end();
  });
}

t.test('a certificate that does not work is said at the start', async (t) => {
  const serve = (...flags: string[]) =>
    runCommand([process.execPath, BERTH_ENTRY, 'coordinator', '--state-dir', at('other'), ...flags], {
      env: environment,
    });
  t.match(await serve('--tls-cert', at('server.pem')), { exitCode: 64, stderr: /--tls-key is missing/ });
  t.match(await serve('--tls-cert', at('server.pem'), '--tls-key', at('none')), {
    exitCode: 64,
    stderr: /--tls-key.*none/,
  });
  t.match(await serve('--tls-cert', at('server.pem'), '--tls-key', at('stranger.key')), {
    exitCode: 64,
    stderr: /do not work/,
  });
  t.match(await serve(...trust), { exitCode: 64, stderr: /--public-ca: .* is of no use without HTTPS/ });
  t.match(await serve(...tls, '--public-ca', at('server.key')), {
    exitCode: 64,
    stderr: /--public-ca: .*server\.key holds no certificate/,
  });
});

t.test('without TLS, what goes over a network is warned of by all three', async (t) => {
  const coordinator = coordinatorWith('plain', '--listen', '0.0.0.0:0');
  t.teardown(() => coordinator.stop());
  await coordinator.start();
  t.match(coordinator.log, /NOT ENCRYPTED.*--tls-cert/);
  // A name of this machine that is not known as such.
  const outside = url().replace(/\/\/[^:]+:/, '//0.0.0.0:');
  const token = readFileSync(join(stateDir, 'admin.token'), 'utf8').trim();
  const set = await berth(['secrets', 'set', 'a'], { BERTH_URL: outside, BERTH_TOKEN: token }, 'value');
  t.match(set, { exitCode: 0, stderr: /WARNING: the value is sent unencrypted/ });
  const agent = new Daemon({
    name: 'n3',
    argv: [
      process.execPath,
      BERTH_ENTRY,
      'agent',
      '--url',
      outside,
      '--name',
      'n3',
      '--state-dir',
      at('n3'),
      '--token-file',
      join(stateDir, 'agent.token'),
    ],
    env: environment,
    logFile: at('n3.log'),
    isReady: async () => readFileSync(at('n3.log'), 'utf8').includes('connected'),
  });
  t.teardown(() => agent.stop());
  await agent.start();
  t.match(agent.log, /NOT ENCRYPTED.*https/);
});
