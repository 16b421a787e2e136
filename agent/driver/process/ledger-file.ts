import { closeSync, fstatSync, openSync, readSync, statSync, unlinkSync } from 'node:fs';
import type { AllocationId } from '../../../shared/ids.js';
import { type LedgerEntry, LedgerReader } from './ledger.js';

const chunk = Buffer.alloc(64 * 1024);

/** A worker's ledger on disk; kept until its worker is gone and none of its attempts is of interest. */
export class LedgerFile {
  readonly path: string;
  readonly file: number;
  /** Attempts in it that have not been removed. */
  readonly attempts = new Set<AllocationId>();
  readonly #reader = new LedgerReader();
  #offset = 0;

  /** Makes the file when there is none. */
  constructor(path: string) {
    this.path = path;
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

  /** Whether the process is the worker that writes here: its stderr is this very file, which no other's is. */
  isWrittenBy(pid: number): boolean {
    try {
      const theirs = statSync(`/proc/${pid}/fd/2`);
      const ours = fstatSync(this.file);
      return theirs.ino === ours.ino && theirs.dev === ours.dev;
    } catch {
      return false;
    }
  }

  close(): void {
    closeSync(this.file);
  }

  delete(): void {
    this.close();
    unlinkSync(this.path);
  }
}
