import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BERTH_ENTRY } from './command.js';

/** A running `berth hpc`, and all that it has said. */
export interface RunningConnector {
  readonly child: ChildProcess;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** 128 + n for signal n. */
  readonly exitCode: Promise<number>;
}

export function startConnector(argv: readonly string[], env: Readonly<Record<string, string>>): RunningConnector {
  const child = spawn(process.execPath, [BERTH_ENTRY, 'hpc', ...argv], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const exitCode = new Promise<number>((resolve) => {
    child.on('close', (code, signal) => resolve(code ?? (signal === 'SIGKILL' ? 137 : 143)));
  });
  return { child, stdout: () => stdout, stderr: () => stderr, exitCode };
}

/** Files of one run in a folder of its own, as arguments. */
export function connectorFiles(folder: string, target: unknown, job: string | object): string[] {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'target.yaml'), JSON.stringify(target));
  writeFileSync(join(folder, 'job'), typeof job === 'string' ? job : JSON.stringify(job));
  return ['--config', join(folder, 'target.yaml'), '--job', join(folder, 'job'), '--output-dir', join(folder, 'out')];
}
