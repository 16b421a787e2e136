import { closeSync, existsSync, fstatSync, openSync, readdirSync, readSync, statSync, unlinkSync } from 'node:fs';
import type { AllocationId } from '../../../shared/ids.js';
import { bytesFrom, sizeOf } from '../output-file.js';
import type { Cell } from './cell.js';
import { CurrentFiles } from './current-files.js';
import { type LedgerEntry, LedgerReader } from './ledger.js';
import type { Places } from './places.js';
import type { UptimeClock } from './process-table.js';

/** Enough for a line. */
const MAX_LINE_BYTES = 4_096;
const chunk = Buffer.alloc(64 * 1024);

/** A worker's ledger on disk; kept until its worker is gone and none of its attempts is of interest. */
export class LedgerFile {
  readonly #path: string;
  /** The name of its worker. */
  readonly name: string;
  readonly file: number;
  /** Attempts in it that have not been removed. */
  readonly attempts = new Set<AllocationId>();
  /** Where its worker's attempts run; null when they are not kept apart. */
  readonly cell: Cell | null;
  readonly current: CurrentFiles;
  /** The attempt that began last: what its worker's files hold is its. */
  newest: AllocationId | null = null;
  readonly #reader: LedgerReader;
  #offset = 0;

  /** Makes the file when there is none. */
  constructor(places: Places, name: string, cell: Cell | null) {
    const path = places.ledger(name);
    this.#path = path;
    this.name = name;
    this.cell = cell;
    this.current = new CurrentFiles(places, name);
    this.#reader = new LedgerReader((id, isNewest) => {
      const own = places.output(id, 'stderr');
      // Its own when it is put by, which an earlier process may have done.
      return existsSync(own) ? endOfFile(own) : isNewest ? endOfFile(this.current.output('stderr')) : '';
    });
    this.file = openSync(path, 'a+', 0o600);
  }

  /** What was added since the last call. */
  read(uptime: UptimeClock): LedgerEntry[] {
    let text = '';
    for (;;) {
      const count = readSync(this.file, chunk, 0, chunk.length, this.#offset);
      this.#offset += count;
      text += chunk.toString('utf8', 0, count);
      if (count < chunk.length) break;
    }
    const entries = text === '' ? [] : this.#reader.push(text, () => uptime.at(fstatSync(this.file).mtimeMs));
    for (const { kind, allocationId } of entries) if (kind === 'run') this.newest = allocationId;
    return entries;
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

  close(): void {
    closeSync(this.file);
  }

  delete(): void {
    this.close();
    this.current.remove();
    unlinkSync(this.#path);
  }
}

function endOfFile(path: string): string {
  const from = Math.max(0, sizeOf(path) - MAX_LINE_BYTES);
  return Buffer.from(bytesFrom(path, from, MAX_LINE_BYTES)).toString('utf8');
}
