import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { freePort } from './free-port.js';
import { until } from './until.js';

/** A real sshd on loopback, which lets one key in. */
export interface Sshd {
  readonly port: number;
  readonly user: string;
  /** Of its host key, as `ssh-keygen -l` prints it. */
  readonly hostKey: string;
  readonly knownHosts: string;
  readonly privateKey: string;
  /** Ends the connections that there are; new ones are taken. */
  dropConnections(): void;
  stop(): void;
  start(): Promise<void>;
}

/** @param env  what sessions find in their environment */
export async function startSshd(t: Pick<Test, 'teardown'>, env: Readonly<Record<string, string>>): Promise<Sshd> {
  const installed = spawnSync('scripts/batch-install', { encoding: 'utf8' });
  if (installed.status !== 0) throw new Error(`sshd cannot be had: ${installed.stderr}`);
  const folder = mkdtempSync(join(tmpdir(), 'berth-sshd-'));
  for (const name of ['host', 'user']) {
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', join(folder, name)]);
  }
  const port = await freePort();
  // bash reads its user's own start file in the first shell of a connection: whatever stands there is none of the tests' affair.
  const sessionEnv = { SHLVL: '1', ...env };
  const hostPublic = readFileSync(join(folder, 'host.pub'), 'utf8').split(' ').slice(0, 2).join(' ');
  writeFileSync(join(folder, 'known_hosts'), `# host keys\n[127.0.0.1]:${port} ${hostPublic}\n`);
  writeFileSync(
    join(folder, 'sshd_config'),
    `ListenAddress 127.0.0.1:${port}
HostKey ${join(folder, 'host')}
AuthorizedKeysFile ${join(folder, 'user.pub')}
PidFile ${join(folder, 'pid')}
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
SetEnv ${Object.entries(sessionEnv)
      .map(([name, value]) => `"${name}=${value}"`)
      .join(' ')}
`,
  );
  chmodSync(join(folder, 'sshd_config'), 0o600);
  const pid = (): string => readFileSync(join(folder, 'pid'), 'utf8').trim();
  const start = async (): Promise<void> => {
    // sshd wants to be called by its whole path, to call itself again.
    spawn('/usr/sbin/sshd', ['-D', '-e', '-f', join(folder, 'sshd_config')], { stdio: 'ignore' }).unref();
    await until('sshd listens', () => canConnect(port));
  };
  const dropConnections = (): void => void spawnSync('pkill', ['-KILL', '-P', pid()]);
  const stop = (): void => {
    dropConnections();
    process.kill(Number(pid()), 'SIGKILL');
  };
  t.teardown(() => {
    try {
      stop();
    } catch {
      // It is stopped already.
    }
    rmSync(folder, { recursive: true, force: true });
  });
  await start();
  const [, hostKey = ''] = execFileSync('ssh-keygen', ['-l', '-f', join(folder, 'host.pub')], {
    encoding: 'utf8',
  }).split(' ');
  return {
    port,
    user: userInfo().username,
    hostKey,
    knownHosts: join(folder, 'known_hosts'),
    privateKey: readFileSync(join(folder, 'user'), 'utf8'),
    dropConnections,
    stop,
    start,
  };
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}
