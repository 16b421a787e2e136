import { closeSync, fstatSync, openSync, readdirSync, readSync, statSync, unlinkSync } from 'node:fs';
import { basename } from 'node:path';
import type { AllocationId } from '../../../shared/ids.js';
import type { Cell } from './cell.js';
import { type LedgerEntry, LedgerReader } from './ledger.js';
import type { Places } from './places.js';

const chunk = Buffer.alloc(64 * 1024);

/** A worker's ledger on disk; kept until its worker is gone and none of its attempts is of interest. */
export class LedgerFile {
  readonly path: string;
  readonly file: number;
  /** Attempts in it that have not been removed. */
  readonly attempts = new Set<AllocationId>();
  /** Where its worker's attempts run; null when they are not kept apart. */
  readonly cell: Cell | null;
  readonly #reader: LedgerReader;
  #offset = 0;

  /** Makes the file when there is none. */
  constructor(places: Places, name: string, cell: Cell | null) {
    const path = places.ledger(name);
    this.path = path;
    this.cell = cell;
    this.#reader = new LedgerReader(places.lastWords);
    this.file = openSync(path, 'a+', 0o600);
  }

  /** What was added since the last call. */
  read(): LedgerEntry[] {
    const entries: LedgerEntry[] = [];
    for (;;) {
      const count = readSync(this.file, chunk, 0, chunk.length, this.#offset);
      this.#offset += count;
      entries.push(...this.#reader.push(chunk.toString('utf8', 0, count)));
      if (count < chunk.length) return entries;
    }
  }

  /** Whether the process is the worker that writes here: it has this very file open, which no other has. */
  isWrittenBy(pid: number): boolean {
    try {
      const folder = `/proc/${pid}/fd`;
      // While its command runs, stderr is the command's and the ledger is one of those put by.
      return this.#isOpenAs(`${folder}/2`) || readdirSync(folder).some((name) => this.#isOpenAs(`${folder}/${name}`));
    } catch {
      return false;
    }
  }

  #isOpenAs(path: string): boolean {
    const theirs = statSync(path, { throwIfNoEntry: false });
    const ours = fstatSync(this.file);
    return theirs?.ino === ours.ino && theirs.dev === ours.dev;
  }

  /** The name of its worker. */
  get name(): string {
    return basename(this.path);
  }

  close(): void {
    closeSync(this.file);
  }

  delete(): void {
    this.close();
    unlinkSync(this.path);
  }
}
