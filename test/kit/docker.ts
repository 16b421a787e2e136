import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';

/** A real daemon of the test's own that speaks Docker's API, with the image busybox:local. */
export interface DockerDaemon {
  readonly folder: string;
  readonly socketPath: string;
  /** Runs `docker ARGS` against it and returns what it prints. Throws with its complaint. */
  docker(...args: string[]): string;
  /** Names of containers, once for each start of any. */
  starts(): readonly string[];
  /** kill -9; its containers go on. */
  kill(): void;
  /** The same daemon again. */
  restart(): void;
}

const UP_LIMIT_MS = 120_000;

/** Containers need root; continuous integration has it, so there these tests are never left out. */
export const dockerTests =
  process.getuid?.() === 0 || process.env.CI === 'true' ? {} : { skip: 'a Docker daemon needs root' };

export function startDocker(t: Pick<Test, 'teardown'>, flags: readonly string[] = []): DockerDaemon {
  const folder = mkdtempSync(join(tmpdir(), 'berth-docker-'));
  const socketPath = join(folder, 'docker.sock');
  const env = { ...process.env, DOCKER_HOST: `unix://${socketPath}` };
  const up = (): void => {
    const { status, stderr } = spawnSync('scripts/docker-up', [folder, ...flags], {
      timeout: UP_LIMIT_MS,
      encoding: 'utf8',
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    if (status !== 0) throw new Error(`Docker did not come up: ${stderr}`);
  };
  t.teardown(() => {
    spawnSync('scripts/docker-down', [folder], { stdio: 'ignore', timeout: UP_LIMIT_MS });
    rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  });
  up();
  const docker = (...args: string[]): string =>
    execFileSync('docker', args, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  const format = ['--filter', 'event=start', '--format', '{{.Actor.Attributes.name}}'];
  return {
    folder,
    socketPath,
    docker,
    starts: () => docker('events', '--since', '0', '--until', String(Date.now() / 1_000), ...format).split('\n'),
    kill: () => process.kill(Number(readFileSync(join(folder, 'pid'), 'utf8')), 'SIGKILL'),
    restart: up,
  };
}
