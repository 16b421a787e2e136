import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCommand } from '../kit/command.js';
import { say } from './figures.js';

const POLL_MS = 100;
const LIMIT_MS = 10 * 60_000;

export interface SlurmOptions {
  readonly taskCount: number;
  /** CPUs that the node claims, and so the tasks that it runs at a time. */
  readonly cpus: number;
}

/** Tasks a second of a tuned Slurm on this machine: one array of `true`, from sbatch until the queue is empty. */
export async function slurmTasksPerSecond(options: SlurmOptions): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'berth-slurm-'));
  const path = { PATH: process.env.PATH ?? '' };
  say('starting Slurm');
  const up = await run(['scripts/slurm-up', folder], { ...path, SLURM_BENCH_CPUS: String(options.cpus) });
  const conf = /^SLURM_CONF=(.*)$/m.exec(up)?.[1] ?? '';
  try {
    return await measure(options.taskCount, { ...path, SLURM_CONF: conf });
  } finally {
    await run(['scripts/slurm-down', folder], path);
  }
}

async function measure(taskCount: number, env: Readonly<Record<string, string>>): Promise<number> {
  const startedAt = performance.now();
  await run(['sbatch', `--array=0-${taskCount - 1}`, '--output=/dev/null', '--wrap=/bin/true'], env);
  while ((await run(['squeue', '--noheader', '--format=%i'], env)).trim() !== '') {
    if (performance.now() - startedAt > LIMIT_MS) throw new Error('Slurm did not finish its array in time');
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return (taskCount / (performance.now() - startedAt)) * 1000;
}

async function run(argv: readonly string[], env: Readonly<Record<string, string>>): Promise<string> {
  const { exitCode, stdout, stderr } = await runCommand(argv, { env, timeoutMs: LIMIT_MS });
  if (exitCode !== 0) throw new Error(`${argv.join(' ')} ended with ${exitCode}: ${stderr}`);
  return stdout;
}
