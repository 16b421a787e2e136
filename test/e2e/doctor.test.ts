import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import type { NodeView } from '../../coordinator/view/api.js';
import { checkClock, checkNodes } from '../../coordinator/view/doctor/coordinator-checks.js';
import type { Finding } from '../../coordinator/view/doctor/finding.js';
import { checkDisk, checkMachine, checkNode } from '../../coordinator/view/doctor/machine-checks.js';
import { checkVolumes } from '../../coordinator/view/doctor/volume-checks.js';
import { systemClock } from '../../shared/clock.js';
import { MIB } from '../../shared/units.js';
import { VERSION } from '../../shared/version.js';
import { Session } from '../kit/client-session.js';
import { startCluster } from '../kit/cluster.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { until } from '../kit/until.js';

const cluster = await startCluster();
t.teardown(() => cluster.stop());

/** A machine made of these files; a program where the content is null. */
async function examined(t: Test, files: Readonly<Record<string, string | null>>): Promise<Record<string, Finding>> {
  const root = temporaryFolder(t);
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content ?? '#!/bin/sh\n');
    if (content === null) chmodSync(join(root, path), 0o755);
  }
  const findings = await checkMachine({ root, path: '/usr/bin:/opt/bin', stateDirs: ['/var'], clock: systemClock });
  return Object.fromEntries(findings.map((finding) => [finding.check, finding]));
}

const DRIVER = {
  'proc/driver/nvidia/version': 'NVRM version: NVIDIA UNIX x86_64 Kernel Module  571.20  Mon\nGCC version: 12\n',
};
const TOOL = { 'opt/bin/nvidia-smi': null };
const DEVICES = { 'dev/nvidiactl': '', 'dev/nvidia-uvm': '', 'dev/nvidia0': '' };

t.test('volumes of other machines are looked at where this one is a node', async (t) => {
  const folder = temporaryFolder(t);
  const settings = join(folder, 'agent.yaml');
  const credentials = join(folder, 'credentials');
  writeFileSync(credentials, 'username=ann', { mode: 0o644 });
  writeFileSync(join(folder, 'mount.nfs'), '');
  writeFileSync(join(folder, 'mount.cifs'), '');
  const examine = async (volumes: object, path = folder) => {
    writeFileSync(settings, JSON.stringify({ volumes }));
    return checkVolumes({ settings, path, clock: systemClock });
  };
  const nfs = { type: 'nfs', source: '127.0.0.1:/export' };
  const smb = { type: 'smb', source: '//127.0.0.1/share', credentials };
  t.strictSame(await checkVolumes({ settings: join(folder, 'none'), path: folder, clock: systemClock }), []);
  t.match(await examine({ a: { path: '/data' }, nfs, smb }), [
    { check: 'volumes', state: 'fail', detail: /nfs \(127.*does not answer \(ECONNREFUSED\)/, fix: /2049/ },
    { check: 'volumes', state: 'fail', detail: /credentials can be read by others/, fix: /chmod 600/ },
  ]);
  const server = createServer((socket) => socket.end()).listen(445, '127.0.0.1');
  t.teardown(() => server.close());
  await once(server, 'listening');
  chmodSync(credentials, 0o600);
  t.match(await examine({ smb }), [{ state: 'ok', detail: /its server answers/ }]);
});

t.test('a machine is told what it lacks, with the remedy', async (t) => {
  const well = await examined(t, {
    ...{ ...DRIVER, ...TOOL, ...DEVICES, 'sys/fs/cgroup/cgroup.controllers': 'cpu' },
    'proc/self/limits': 'Max open files            1048576              1048576              files\n',
    'proc/sys/fs/inotify/max_user_watches': '65536\n',
  });
  t.match(well, { cgroups: { state: 'ok' }, files: { state: 'ok' }, inotify: { state: 'ok' } });
  t.match(well.nvidia, { state: 'ok', detail: 'driver 571.20' });
  const ill = await examined(t, {
    'sys/fs/cgroup/memory/x': '',
    'proc/self/limits': 'Max open files            1024                 4096                 files\n',
    'proc/sys/fs/inotify/max_user_watches': '100\n',
  });
  t.match(ill, { cgroups: { state: 'warn', detail: /1/ }, files: { state: 'warn', fix: /LimitNOFILE/ } });
  t.match(ill, { inotify: { state: 'warn', fix: /sysctl/ }, docker: { state: 'warn' }, nvidia: { state: 'ok' } });
  t.match((await examined(t, TOOL)).nvidia, { state: 'warn', fix: /modprobe/ });
  t.match((await examined(t, DRIVER)).nvidia, { state: 'fail', fix: /nvidia-smi/ });
  t.match((await examined(t, { ...DRIVER, ...TOOL })).nvidia, { state: 'fail', detail: /\/dev\/nvidia-uvm/ });
  t.match(checkNode('18.0.0'), { state: 'fail' });
  t.strictSame(
    [5_000, 500, 50].map((size) => checkDisk('/x', size * MIB).state),
    ['ok', 'warn', 'fail'],
  );
  t.strictSame(
    [0, -4_000, 9_000].map((offset) => checkClock(offset).state),
    ['ok', 'ok', 'warn'],
  );
});

t.test('a Docker socket that answers is told from one that does not', async (t) => {
  const root = temporaryFolder(t);
  mkdirSync(join(root, 'var/run'), { recursive: true });
  const path = join(root, 'var/run/docker.sock');
  const docker = async (): Promise<Finding | undefined> => {
    const findings = await checkMachine({ root, path: '', stateDirs: [], clock: systemClock });
    return findings.find(({ check }) => check === 'docker');
  };
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.match(await docker(), { state: 'ok' });
  await new Promise((resolve) => server.close(resolve));
  if (!existsSync(path)) writeFileSync(path, '');
  t.match(await docker(), { state: 'fail', fix: /systemctl start docker/ });
});

t.test('nodes that are away, old, off in time or with a bad GPU are named', async (t) => {
  const node = (changes: object) => ({
    name: 'n1',
    link: 'connected',
    version: VERSION,
    usage: null,
    gpus: [],
    ...changes,
  });
  const found = (...nodes: object[]) => checkNodes(nodes as NodeView[]);
  t.match(found(), [{ state: 'warn', detail: /none/ }]);
  t.match(found(node({})), [{ state: 'ok' }]);
  t.match(found(node({ link: 'lost' })), [{ state: 'warn', fix: /remove-node n1/ }]);
  t.match(found(node({ version: '0.0.1' })), [{ state: 'warn', detail: /0\.0\.1/ }]);
  t.match(found(node({ usage: { clockOffsetMs: -60_000 } })), [{ state: 'warn', detail: /-60\.0 s/ }]);
  t.match(found(node({ gpus: [{ index: 3, fault: 'hot' }] })), [{ state: 'warn', fix: /gpu in 3/ }]);
});

t.test('the way to a real coordinator is looked at step by step', async (t) => {
  const { berth, url, folder, coordinator } = cluster;
  const states = async (env: Record<string, string> = {}): Promise<[number, Record<string, Finding>]> => {
    const { exitCode, stdout } = await berth(['doctor', '-o', 'json'], { env });
    const { findings } = JSON.parse(stdout) as { findings: Finding[] };
    return [exitCode, Object.fromEntries(findings.map((finding) => [finding.check, finding]))];
  };
  const [code, found] = await states();
  for (const check of ['coordinator', 'version', 'clock', 'proxy', 'token', 'nodes'])
    t.equal(found[check]?.state, 'ok', check);
  t.equal(code, Object.values(found).some(({ state }) => state === 'fail') ? 1 : 0);
  t.match((await berth(['doctor'])).stdout, /ok +coordinator +http/);
  t.match(await states({ BERTH_TOKEN: 'wrong' }), [1, { token: { state: 'fail', fix: /./ } }]);
  t.match(await states({ HTTPS_PROXY: 'http://p' }), [code, { proxy: { state: 'warn', detail: /HTTPS_PROXY/ } }]);
  t.match(await states({ BERTH_URL: 'http://no.such.host.invalid:1' }), [1, { dns: { state: 'fail' } }]);

  const settings = join(folder, 'agent.yaml');
  const nowhere = { url: undefined, token: undefined, defaultStateDirs: [], agentSettings: settings };
  const onNode = async (): Promise<string> => {
    const session = new Session({ url, token: '' }, { config: nowhere });
    await session.run('doctor');
    return session.stdout;
  };
  t.match(await onNode(), /fail +coordinator +no coordinator found/);
  writeFileSync(settings, `url: ${url}\ntokenFile: ${join(folder, 'coordinator', 'agent.token')}\n`);
  t.match(await onNode(), /ok +coordinator[\s\S]*ok +token +a join token/);
  writeFileSync(settings, `url: ${url}\ntokenFile: /missing\n`);
  t.match(await onNode(), /fail +token +no join token in \/missing: ENOENT/);

  await coordinator.kill();
  await until('it is gone', async () => (await states())[1].coordinator?.state === 'fail');
});
