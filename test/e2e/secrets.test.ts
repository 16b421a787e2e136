import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { startCluster } from '../kit/cluster.js';
import { until } from '../kit/until.js';

// Many daemons start, each on a busy machine.
t.setTimeout(300_000);

// A secret's whole way through the real programs, while everything that others could look at is searched for it.
const cluster = await startCluster({ agents: 2 });
t.teardown(() => cluster.stop());
const { api, berth, folder } = cluster;

const value = `hush-${randomBytes(24).toString('hex')}`;
const digest = createHash('sha256').update(value).digest('hex');
const forms = (['latin1', 'base64', 'hex', 'base64url'] as const).map((form) => Buffer.from(value).toString(form));

/** Every file of the coordinator, of both agents and of the people: state, logs, output, home. */
function leaksIn(root: string): string[] {
  return readdirSync(root, { withFileTypes: true }).flatMap((entry) => {
    const path = join(root, entry.name);
    if (entry.isDirectory()) return leaksIn(path);
    return entry.isFile() && holds(readFileSync(path, 'latin1')) ? [path] : [];
  });
}

const holds = (text: string): boolean => forms.some((form) => text.includes(form));

/** Programs whose arguments, which every user of the machine sees, hold the value. */
function leakingArguments(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => holds(quietly(`/proc/${pid}/cmdline`)));
}

/** Processes with the value in their environment, by the names of their programs. */
function holdersOf(): string[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.filter((pid) => holds(quietly(`/proc/${pid}/environ`))).map((pid) => quietly(`/proc/${pid}/comm`).trim());
}

function quietly(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    // It has ended.
    return '';
  }
}

async function answers(jobId: string): Promise<string> {
  const paths = [
    ...['/v1/secrets', '/v1/nodes', '/v1/jobs', '/v1/events?after=0&follow=false', `/v1/jobs/${jobId}`],
    ...['', '/0'].map((task) => `/v1/jobs/${jobId}/tasks${task}`),
    ...['spec', 'why', 'when', 'logs'].map((name) => `/v1/jobs/${jobId}/${name}`),
  ];
  const texts = await Promise.all(paths.map(async (path) => (await api.request('GET', path)).text));
  return texts.join('\n');
}

const script = `
  printf %s "$TOKEN" | sha256sum
  sha256sum < "$BERTH_SECRETS_DIR/token.txt"
  stat -f -c %T "$BERTH_SECRETS_DIR"
  while [ ! -e '${join(folder, 'go')}' ]; do sleep 0.05; done`;

t.test('a secret reaches its task and nobody else can find it', async (t) => {
  t.match(await berth(['secrets', 'set', 'token'], { input: `${value}\n` }), { exitCode: 0, stdout: 'token set\n' });
  const flags = ['--secret', 'token=env:TOKEN', '--secret', 'token=file:token.txt'];
  const submitted = await berth(['run', '-d', ...flags, '--', 'sh', '-c', script]);
  const jobId = submitted.stdout.trim();
  await until('the task has seen its secret', async () => (await berth(['logs', jobId])).stdout.includes('tmpfs'));
  const during = { files: leaksIn(folder), arguments: leakingArguments(), answer: holds(await answers(jobId)) };
  t.strictSame(during, { files: [], arguments: [], answer: false });
  t.ok(holdersOf().length > 0, 'the search would find it: it is in the environment of the task');
  t.notOk(holdersOf().includes('node'), 'which no daemon shares');
  writeFileSync(join(folder, 'go'), '');
  t.match(await berth(['wait', jobId]), { exitCode: 0 });
  const { stdout } = await berth(['logs', jobId]);
  t.equal(stdout, `${digest}  -\n${digest}  -\ntmpfs\n`);
  t.strictSame(leaksIn(folder), []);
  await until('its folder in memory is gone', () => leaksIn('/dev/shm').length === 0);
});

t.test('it is still known after both daemons were killed, and gone once it is removed', async (t) => {
  await Promise.all([cluster.coordinator, ...cluster.agents].map((daemon) => daemon.kill()));
  await cluster.coordinator.start();
  await Promise.all(cluster.agents.map((agent) => agent.start()));
  const check = ['--secret', 'token=env:TOKEN', '--', 'sh', '-c', 'printf %s "$TOKEN" | sha256sum'];
  t.match(await berth(['run', ...check]), { exitCode: 0, stdout: `${digest}  -\n` });
  t.match(await berth(['secrets', 'rotate-key']), { exitCode: 0, stdout: '1 secrets sealed under the new key\n' });
  t.match(await berth(['run', ...check]), { exitCode: 0, stdout: `${digest}  -\n` });

  const held = await berth(['run', '-d', '--hold', ...check]);
  const jobId = held.stdout.trim();
  t.match(await berth(['secrets', 'rm', 'token']), { exitCode: 0, stdout: 'token removed\n' });
  t.match(await berth(['release', jobId]), { exitCode: 0 });
  t.match(await berth(['why', jobId]), { stdout: /waits for the secret "token" of namespace default/ });
  t.match(await berth(['run', ...check]), { exitCode: 64, stderr: /there is no secret "token"/ });
  t.match(await berth(['secrets', 'set', 'token', '--from-env', 'IT'], { env: { IT: value } }), { exitCode: 0 });
  t.match(await berth(['wait', jobId]), { exitCode: 0 });
  t.match(await berth(['secrets', 'ls']), { stdout: /^NAMESPACE +NAME +AGE +BY\ndefault +token / });
});

t.test('what is kept is private to its owner, and values of all kinds of origin are taken', async (t) => {
  for (const name of ['secrets.key', 'secrets.json']) {
    t.equal(statSync(join(cluster.stateDir, name)).mode & 0o777, 0o600, name);
  }
  const file = join(folder, 'key.pem');
  writeFileSync(file, Buffer.from([0, 255, 10]));
  t.match(await berth(['secrets', 'set', 'key', '--namespace', 'lab', '--from-file', file]), { exitCode: 0 });
  const print = ['--namespace', 'lab', '--secret', 'key', '--', 'sh', '-c', 'od -An -tx1 "$BERTH_SECRETS_DIR/key"'];
  t.match(await berth(['run', ...print]), { exitCode: 0, stdout: ' 00 ff 0a\n' });
  t.match(await berth(['secrets', 'set', 'none', '--from-env', 'NONE']), { exitCode: 64, stderr: /NONE is not set/ });
  t.match(await berth(['secrets', 'set', 'none', '--from-file', '/none']), { exitCode: 64, stderr: /--from-file/ });
  t.match(await berth(['secrets', 'set', 'none', 'value']), { exitCode: 64 }, 'never as an argument');
  t.match(await berth(['secrets', 'rm', 'none']), { exitCode: 64, stderr: /there is no secret "none"/ });
});

const root = process.getuid?.() === 0 || process.env.CI === 'true' ? {} : { skip: 'full isolation needs root' };

t.test('secrets, files and a volume come together in a task that is isolated in every way', root, async (t) => {
  // Not below /tmp, of which the task has its own.
  const volumes = mkdtempSync('/var/tmp/berth-test-');
  t.teardown(() => rmSync(volumes, { recursive: true, force: true }));
  chmodSync(volumes, 0o755);
  writeFileSync(join(volumes, 'scan'), 'scan\n');
  mkdirSync(join(volumes, 'mine'));
  chmodSync(join(volumes, 'mine'), 0o777);
  const grants = ['--volumes', `scans=${volumes}`, '--volumes', `mine=path=${join(volumes, 'mine')},writable=true`];
  const isolated = await startCluster({ isolation: 'full', agentFlags: grants });
  t.teardown(() => isolated.stop());
  await isolated.berth(['secrets', 'set', 'token'], { input: `${value}\n` });
  const isolatedScript = `#!/bin/sh
    id -un; test -e ${isolated.folder} || echo alone
    printf %s "$TOKEN" | sha256sum; sha256sum < "$BERTH_SECRETS_DIR/token.txt"
    cat in/note scans/scan
    touch scans/new 2>/dev/null || echo read-only
    echo left >mine/left
    sha256sum < "$BERTH_SECRETS_DIR/token.txt" >result
    chmod 600 result`;
  const job = {
    ...{ script: isolatedScript, outputs: [{ path: 'result', required: true }], constraints: ['isolation = full'] },
    inputs: [{ content: 'note\n', to: 'in/note', mode: '0600' }],
    volumes: [
      { name: 'scans', mount: 'scans' },
      { name: 'mine', mount: 'mine', readOnly: false },
    ],
    secrets: [{ name: 'token', env: 'TOKEN', file: 'token.txt' }],
  };
  writeFileSync(join(isolated.folder, 'job.yaml'), JSON.stringify(job));
  const submitted = await isolated.berth(['submit', join(isolated.folder, 'job.yaml'), '--wait']);
  t.equal(submitted.exitCode, 0, submitted.stderr);
  t.match(await isolated.berth(['logs', 'last']), {
    stdout: `nobody\nalone\n${digest}  -\n${digest}  -\nnote\nscan\nread-only\n`,
    stderr: '',
  });
  t.match(await isolated.berth(['get', 'last', '-o', '-']), { stdout: `${digest}  -\n` });
  t.equal(readFileSync(join(volumes, 'mine', 'left'), 'utf8'), 'left\n');
  t.strictSame(leaksIn(isolated.folder), []);
  await until('its workspace is gone', () => readdirSync(join(isolated.folder, 'n1', 'staging')).length === 0);
  await until('its secrets are gone', () => leaksIn('/dev/shm').length === 0);
});
