import { chmodSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A program in place of nvidia-smi, whose behaviour a test changes between two calls. */
export class StandIn {
  readonly program: string;
  readonly #page: string;
  readonly #list: string;

  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    this.program = join(folder, 'nvidia-smi');
    this.#page = join(folder, 'page.xml');
    this.#list = join(folder, 'list.txt');
    this.prints('');
  }

  /** Answers with these from now on. */
  prints(page: string, list = ''): void {
    writeFileSync(this.#page, page);
    writeFileSync(this.#list, list);
    this.#behave(`case $1 in -L) cat '${this.#list}';; *) cat '${this.#page}';; esac`);
  }

  /** Says so on both streams and ends with an error. */
  fails(message: string): void {
    this.#behave(`echo '${message}' >&2; exit 9`);
  }

  /** Never ends by itself, and neither does its child, which holds the pipes. */
  hangs(): void {
    this.#behave(`trap '' TERM INT; sleep 1000`);
  }

  floods(): void {
    this.#behave('exec cat /dev/zero');
  }

  #behave(script: string): void {
    writeFileSync(`${this.program}.new`, `#!/bin/sh\n${script}\n`);
    chmodSync(`${this.program}.new`, 0o755);
    // A program that runs cannot be written over; its name can be given to another.
    renameSync(`${this.program}.new`, this.program);
  }
}
