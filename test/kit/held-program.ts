import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** A program in a folder of its own, which stays after it has done what it does until it is let go. */
export interface HeldProgram {
  /** To be first in PATH. */
  readonly folder: string;
  hold(isHeld: boolean): void;
}

/** @param path  where the real program is looked for */
export function heldProgram(program: string, parent: string, path: string): HeldProgram {
  const folder = join(parent, 'held');
  const flag = join(folder, 'flag');
  const real = path
    .split(delimiter)
    .map((each) => join(each, program))
    .find((each) => existsSync(each));
  if (real === undefined) throw new Error(`there is no ${program} on ${path}`);
  mkdirSync(folder);
  const file = join(folder, program);
  writeFileSync(file, `#!/bin/sh\n${real} "$@"; code=$?\nwhile [ -e ${flag} ]; do sleep 0.1; done\nexit $code\n`);
  chmodSync(file, 0o755);
  return { folder, hold: (isHeld) => (isHeld ? writeFileSync(flag, '') : rmSync(flag)) };
}
