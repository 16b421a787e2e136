import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';

/** A real Grid Engine of the test's own. */
export interface GridEngine {
  readonly folder: string;
  /** The environment of its tools. */
  readonly env: Readonly<Record<string, string>>;
  /** What waits or runs. */
  jobs(): readonly SgeJob[];
  stopMaster(): void;
  startMaster(): void;
}

export interface SgeJob {
  readonly id: string;
  readonly name: string;
  readonly state: string;
}

const UP_LIMIT_MS = 120_000;

/** Grid Engine's daemons need root; continuous integration has it, so there these tests are never left out. */
export const sgeTests =
  process.getuid?.() === 0 || process.env.CI === 'true' ? {} : { skip: "Grid Engine's daemons need root" };

export function startGridEngine(t: Pick<Test, 'teardown'>): GridEngine {
  const folder = mkdtempSync(join(tmpdir(), 'berth-sge-'));
  chmodSync(folder, 0o755);
  const path = { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '/' };
  t.teardown(() => {
    spawnSync('scripts/sge-down', [folder], { stdio: 'ignore', env: path, timeout: UP_LIMIT_MS });
    rmSync(folder, { recursive: true, force: true });
  });
  const { status, stdout, stderr } = spawnSync('scripts/sge-up', [folder], {
    encoding: 'utf8',
    timeout: UP_LIMIT_MS,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: path,
  });
  if (status !== 0) throw new Error(`Grid Engine did not come up: ${stderr}`);
  const variables = Object.fromEntries(
    [...stdout.matchAll(/^(SGE_\w+)=(.*)$/gm)].map(([, name, value]) => [name, value]),
  );
  const env: Record<string, string> = { ...path, ...variables };
  return {
    folder,
    env,
    jobs: () => readJobs(execFileSync('qstat', ['-u', '*', '-r'], { env, encoding: 'utf8' })),
    stopMaster: () => process.kill(Number(readFileSync(join(folder, 'qmaster/qmaster.pid'), 'utf8')), 'SIGKILL'),
    startMaster: () => void spawnSync('sge_qmaster', [], { env, stdio: 'ignore', timeout: UP_LIMIT_MS }),
  };
}

/** Columns are the id, priority, name cut short, owner and state; lines about each job follow its own. */
function readJobs(text: string): readonly SgeJob[] {
  const lines = /^ *(\d+) +\S+ +\S+ +\S+ +(\S+) .*\n +Full jobname: +(\S+)$/gm;
  return [...text.matchAll(lines)].map(([, id = '', state = '', name = '']) => ({ id, state, name }));
}
