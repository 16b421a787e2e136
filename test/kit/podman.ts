import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { DockerDaemon } from './docker.js';

const UP_LIMIT_MS = 120_000;

/** A real Podman of the test's own, through the socket on which it speaks Docker's API. */
export function startPodman(t: Pick<Test, 'teardown'>): DockerDaemon {
  const folder = mkdtempSync(join(tmpdir(), 'berth-podman-'));
  const socketPath = join(folder, 'docker.sock');
  const env = { ...process.env, DOCKER_HOST: `unix://${socketPath}` };
  const up = (): void => {
    const { status, stderr } = spawnSync('scripts/podman-up', [folder], {
      timeout: UP_LIMIT_MS,
      encoding: 'utf8',
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    if (status !== 0) throw new Error(`Podman did not come up: ${stderr}`);
  };
  t.teardown(() => {
    spawnSync('scripts/podman-down', [folder], { stdio: 'ignore', timeout: UP_LIMIT_MS });
    rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  });
  up();
  return {
    folder,
    socketPath,
    docker: (...args) => execFileSync('docker', args, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }),
    // Its API cannot be asked for events of the past.
    starts: () => startsIn(readFileSync(join(folder, 'tmp', 'events', 'events.log'), 'utf8')),
    kill: () => process.kill(Number(readFileSync(join(folder, 'pid'), 'utf8')), 'SIGKILL'),
    restart: up,
  };
}

function startsIn(log: string): string[] {
  const events = log.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as PodmanEvent]));
  return events.filter(({ Status }) => Status === 'start').map(({ Name }) => Name);
}

interface PodmanEvent {
  readonly Status: string;
  readonly Name: string;
}
