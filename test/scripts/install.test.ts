import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { type CommandResult, runCommand } from '../kit/command.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

// Packing and unpacking thousands of small files takes a while on a busy disk.
t.setTimeout(300_000);

// Everything below a folder, where nothing is started; the boot test starts it.
const folder = temporaryFolder(t);
const env = { PATH: process.env.PATH ?? '/usr/bin:/bin', HOME: folder, TMPDIR: folder };
const run = (...argv: string[]): Promise<CommandResult> => runCommand(argv, { env, timeoutMs: 120_000 });
const root = join(folder, 'root');
const install = (...flags: string[]) => run('scripts/install', ...flags, '--root', root);
const inRoot = (path: string): string => join(root, path);
const releases = (): string[] => readdirSync(inRoot('opt/berth/releases'));

const packed = await run('scripts/pack', join(folder, 'berth.tgz'));
t.match(packed, { exitCode: 0, stdout: join(folder, 'berth.tgz') });
writeFileSync(join(folder, 'token'), 'berth_agent_x\n');
const join1 = ['agent', '--url', 'http://10.0.0.1:7878', '--token-file', join(folder, 'token'), '--name', 'gpu "1"'];

t.test('wrong words are refused before anything is laid down', async (t) => {
  t.match(await run('scripts/install', '--root', root), { exitCode: 64, stderr: /agent or coordinator/ });
  t.match(await install('agent', '--from', join(folder, 'berth.tgz')), { exitCode: 64, stderr: /--url/ });
  t.match(await install('agent', '--color'), { exitCode: 64, stderr: /unknown: --color/ });
  t.notOk(existsSync(inRoot('opt')));
});

t.test('both roles are laid down from one package, and the program runs from there', async (t) => {
  for (const flags of [join1, ['coordinator', '--listen', '0.0.0.0:7878']]) {
    t.match(await install(...flags, '--from', join(folder, 'berth.tgz')), { exitCode: 0, stdout: /laid down/ });
  }
  t.match(await run(inRoot('opt/berth/current/scripts/berth'), '--version'), { exitCode: 0, stdout: /^berth \d/ });
  t.match(await run(inRoot('opt/berth/current/scripts/berth'), 'agent', 'discover'), { exitCode: 0, stdout: /"cpus"/ });
  t.match(
    readFileSync(inRoot('etc/berth/agent.yaml'), 'utf8'),
    /url: "http:\/\/10\.0\.0\.1:7878"[\s\S]*name: "gpu \\"1\\""/,
  );
  t.match(readFileSync(inRoot('etc/berth/coordinator.yaml'), 'utf8'), /listen: "0\.0\.0\.0:7878"/);
  t.equal(statSync(inRoot('etc/berth/agent.token')).mode & 0o777, 0o600);
  t.equal(releases().length, 1, 'one release for both');
});

t.test('systemd finds no fault with the units, and the coordinator is kept in', async (t) => {
  const units = join(folder, 'units');
  mkdirSync(units);
  for (const role of ['agent', 'coordinator']) {
    const unit = readFileSync(inRoot(`etc/systemd/system/berth-${role}.service`), 'utf8');
    const path = join(units, `berth-${role}.service`);
    writeFileSync(path, unit.replace('/usr/local/bin/berth', inRoot('opt/berth/current/scripts/berth')));
    t.match(await run('systemd-analyze', 'verify', '--man=no', path), { exitCode: 0, stderr: '' }, role);
  }
  const coordinator = join(units, 'berth-coordinator.service');
  // In tenths: below 2.0 of 10.
  const strict = await run('systemd-analyze', 'security', '--offline=true', '--threshold=20', coordinator);
  t.equal(strict.exitCode, 0, /Overall exposure.*/.exec(strict.stdout)?.[0] ?? strict.stderr);
});

t.test('an upgrade keeps settings and the release before, and repeating it changes nothing', async (t) => {
  const settings = inRoot('etc/berth/agent.yaml');
  writeFileSync(settings, `${readFileSync(settings, 'utf8')}cpus: 4\n`);
  const [first] = releases();
  for (const change of ['one', 'two']) {
    const next = join(folder, change);
    // Without libraries: nothing of it is run.
    for (const part of ['build', 'scripts', 'package.json'])
      cpSync(inRoot(`opt/berth/releases/${first}/${part}`), join(next, part), { recursive: true });
    writeFileSync(join(next, 'build', 'change'), change);
    for (const time of ['once', 'twice'])
      t.match(await run(join(next, 'scripts/install'), 'agent', '--root', root), { exitCode: 0 }, `unpacked, ${time}`);
    t.equal(readFileSync(inRoot('opt/berth/current/build/change'), 'utf8'), change);
    t.equal(releases().length, 2);
  }
  t.match(readFileSync(settings, 'utf8'), /cpus: 4/);
});

t.test('a role is taken away without the other, and all of it with the last', async (t) => {
  t.match(await install('--uninstall', 'agent'), { exitCode: 0, stdout: /are kept/ });
  t.notOk(existsSync(inRoot('etc/systemd/system/berth-agent.service')));
  t.ok(existsSync(inRoot('etc/berth/agent.yaml')));
  t.ok(existsSync(inRoot('opt/berth/current')), 'the coordinator needs it');
  mkdirSync(inRoot('var/lib/berth'), { recursive: true });
  t.match(await install('--uninstall', 'coordinator', '--purge'), { exitCode: 0 });
  t.match(await install('--uninstall', 'agent', '--purge'), { exitCode: 0 }, 'again, and nothing is missed');
  for (const path of ['opt/berth', 'etc/berth', 'var/lib/berth', 'usr/local/bin/berth'])
    t.notOk(existsSync(inRoot(path)), path);
});
