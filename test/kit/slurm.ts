import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { Test } from 'tap';
import { until } from './until.js';

/** A real Slurm of the test's own. */
export interface Slurm {
  readonly folder: string;
  /** The environment of its tools. */
  readonly env: Readonly<Record<string, string>>;
  /** Of slurmrestd; empty without it. */
  readonly restUrl: string;
  /** Runs one of its tools and returns what it prints. */
  tool(...argv: string[]): string;
  /** Stops the controller; jobs go on. */
  stopController(): void;
  startController(): void;
  /** The same of slurmdbd, where it is a `site`. */
  stopAccounting(): void;
  startAccounting(): void;
  /** Waits until the controller no longer knows a job that has ended. */
  forget(id: string): Promise<void>;
  /**
   * Starts a job that was put back, which would wait two minutes: what the node still does to its first run it would do
   * to the second.
   */
  startAgain(id: string): Promise<void>;
}

const UP_LIMIT_MS = 120_000;
const REVOCATION_MS = 2_000;
/** For which tools wait for a controller that is down. */
const TOOL_TIMEOUT_SECONDS = 5;

/** Slurm's daemons need root; continuous integration has it, so there these tests are never left out. */
export const slurmTests =
  process.getuid?.() === 0 || process.env.CI === 'true' ? {} : { skip: "Slurm's daemons need root" };

export interface SlurmNeeds {
  readonly rest?: true;
  /** With accounting, memory that is enforced, and partitions that are preempted. */
  readonly site?: true;
  /** Public keys of somebody else's, whose tokens slurmrestd takes too. */
  readonly jwksFile?: string;
  readonly minJobAgeSeconds?: number;
  readonly maxArraySize?: number;
  /** CPUs that the node claims. */
  readonly cpus?: number;
}

export function startSlurm(t: Pick<Test, 'teardown'>, needs: SlurmNeeds = {}): Slurm {
  const folder = mkdtempSync(join(tmpdir(), 'berth-slurm-'));
  // slurmrestd is another user.
  chmodSync(folder, 0o755);
  const path = { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '/' };
  t.teardown(() => {
    spawnSync('scripts/slurm-down', [folder], { stdio: 'ignore', env: path, timeout: UP_LIMIT_MS });
    rmSync(folder, { recursive: true, force: true });
  });
  const { status, stdout, stderr } = spawnSync('scripts/slurm-up', [folder], {
    encoding: 'utf8',
    timeout: UP_LIMIT_MS,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...path,
      TMPDIR: tmpdir(),
      SLURM_REST: needs.rest ? '1' : '0',
      SLURM_SITE: needs.site ? '1' : '0',
      ...(needs.jwksFile === undefined ? {} : { SLURM_JWKS: needs.jwksFile }),
      SLURM_TOOL_TIMEOUT: String(TOOL_TIMEOUT_SECONDS),
      SLURM_MIN_JOB_AGE: String(needs.minJobAgeSeconds ?? 300),
      ...(needs.maxArraySize === undefined ? {} : { SLURM_MAX_ARRAY_SIZE: String(needs.maxArraySize) }),
      ...(needs.cpus === undefined ? {} : { SLURM_BENCH_CPUS: String(needs.cpus) }),
    },
  });
  if (status !== 0) throw new Error(`Slurm did not come up: ${stderr}`);
  const env = { ...path, SLURM_CONF: join(folder, 'etc/tools.conf') };
  const daemonEnv = { ...path, SLURM_CONF: join(folder, 'etc/slurm.conf') };
  const tool = (file = '', ...argv: string[]): string =>
    execFileSync(file, argv, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  // With TERM they write their state down first; what they forget when they are killed is not ours to test.
  const stop = (daemon: string): void => {
    const pid = Number(readFileSync(join(folder, `run/${daemon}.pid`), 'utf8'));
    process.kill(pid, 'SIGTERM');
    waitUntil(`${daemon} has ended`, () => !isAlive(pid));
  };
  return {
    ...{ folder, env, tool, ...jobActs(tool) },
    restUrl: /^SLURM_REST=(.*)$/m.exec(stdout)?.[1] ?? '',
    stopController: () => stop('slurmctld'),
    stopAccounting: () => stop('slurmdbd'),
    startAccounting: () => {
      const socket = { MYSQL_UNIX_PORT: join(folder, 'database/socket') };
      spawnSync('slurmdbd', [], { env: { ...daemonEnv, ...socket }, stdio: 'ignore', timeout: UP_LIMIT_MS });
      waitUntil('slurmdbd answers', () => spawnSync('sacct', ['--jobs=1'], { env }).status === 0);
    },
    startController: () => {
      waitUntil('slurmctld answers', () => {
        if (spawnSync('scontrol', ['ping'], { env, encoding: 'utf8' }).stdout.includes(' UP')) return true;
        spawnSync('slurmctld', [], { env: daemonEnv, stdio: 'ignore', timeout: UP_LIMIT_MS });
        return false;
      });
    },
  };
}

function jobActs(tool: Slurm['tool']): Pick<Slurm, 'forget' | 'startAgain'> {
  const known = (): string[] => tool('squeue', '--states=all', '--noheader', '--format=%F').split('\n');
  return {
    forget: (id) => until(`${id} is forgotten`, () => !known().includes(id), UP_LIMIT_MS),
    startAgain: async (id) => {
      await until('its first run has left the node', () => {
        return spawnSync('pgrep', ['--full', `slurmstepd: .${id}.batch`]).status === 1;
      });
      // The first run's end revokes its credential, and all that are made in the same second.
      await setTimeout(REVOCATION_MS);
      tool('scontrol', 'update', `JobId=${id}`, 'StartTime=now');
    },
  };
}

const MAX_WAITS = 200;

function waitUntil(what: string, isTrue: () => boolean): void {
  for (let count = 0; count < MAX_WAITS; count += 1) {
    if (isTrue()) return;
    spawnSync('sleep', ['0.1']);
  }
  throw new Error(`waited in vain: ${what}`);
}

function isAlive(pid: number): boolean {
  try {
    // A zombie has ended, whoever has to take notice of that.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
