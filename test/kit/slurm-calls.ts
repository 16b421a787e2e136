import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Slurm } from './slurm.js';

/** Calls of Slurm's programs by whoever has `folder` first in PATH. */
export interface SlurmCalls {
  readonly folder: string;
  made(): readonly SlurmCall[];
}

export interface SlurmCall {
  readonly at: number;
  readonly program: string;
  readonly args: string;
}

/** Programs that note each call and go on as the real ones. */
export function countCalls(slurm: Slurm, programs: readonly string[]): SlurmCalls {
  const folder = join(slurm.folder, 'counted');
  const log = join(slurm.folder, 'calls');
  mkdirSync(folder);
  writeFileSync(log, '');
  for (const program of programs) {
    const path = slurm.tool('sh', '-c', `command -v ${program}`).trim();
    const file = join(folder, program);
    writeFileSync(file, `#!/bin/sh\necho "$(date +%s%3N) ${program} $*" >>${log}\nexec ${path} "$@"\n`);
    chmodSync(file, 0o755);
  }
  return { folder, made: () => readFileSync(log, 'utf8').split('\n').flatMap(readCall) };
}

function readCall(line: string): SlurmCall[] {
  const [at = '', program = '', ...args] = line.split(' ');
  return line === '' ? [] : [{ at: Number(at), program, args: args.join(' ') }];
}
