import { existsSync, lstatSync, mkdirSync, readdirSync, renameSync, rmSync, type Stats, unlinkSync } from 'node:fs';
import type { AllocationId } from '../../../shared/ids.js';
import type { LogStream } from '../../../shared/wire/messages.js';
import type { OutputBytes } from '../driver.js';
import { sizeOf } from '../output-file.js';
import type { Places } from './places.js';

/** What an attempt left. */
export interface Leavings {
  readonly output: OutputBytes;
  /** Nothing on disk has the attempt's name. */
  readonly isNothing: boolean;
}

/**
 * The output and the working directory of the attempt that a worker runs.
 *
 * They have the worker's name: what one attempt leaves empty, as most do, serves the next one as it is, without a file
 * made, renamed or deleted. What is not empty gets the attempt's name when that has ended.
 */
export class CurrentFiles {
  /** Where the working directory is. */
  readonly folder: string;
  readonly #places: Places;
  readonly #name: string;
  #hasFolder = false;

  constructor(places: Places, name: string) {
    this.#places = places;
    this.#name = name;
    this.folder = places.current(name);
  }

  output(stream: LogStream): string {
    return this.#places.current(`${this.#name}.${stream === 'stdout' ? 'out' : 'err'}`);
  }

  /** An empty working directory for the next attempt. */
  prepareFolder(): void {
    if (!this.#hasFolder) mkdirSync(this.folder, { recursive: true, mode: 0o700 });
    this.#hasFolder = true;
  }

  /** Gives output that there is the name of its attempt while that goes on. */
  nameOutput(id: AllocationId, stream: LogStream): void {
    const path = this.output(stream);
    if (sizeOf(path) > 0) renameSync(path, this.#places.output(id, stream));
  }

  /**
   * Gives what the attempt left its name. Idempotent, also after a crash at any line.
   *
   * @param isTraceless  no process can be left that holds a file open: what is empty may serve again
   */
  putBy(id: AllocationId, isTraceless: boolean): Leavings {
    const stdout = this.#putOutputBy(id, 'stdout', isTraceless);
    const stderr = this.#putOutputBy(id, 'stderr', isTraceless);
    const hasNoFiles = this.#putFolderBy(id, isTraceless);
    const isNothing = hasNoFiles && stdout === 0 && stderr === 0 && !this.#places.hasScript(id);
    return { output: { stdoutBytes: stdout, stderrBytes: stderr }, isNothing };
  }

  /** Its worker is gone, and what its last attempt left is put by. */
  remove(): void {
    for (const stream of ['stdout', 'stderr'] as const) rmSync(this.output(stream), { force: true });
    void this.#places.deleteFolder(this.folder);
  }

  /** Returns how much it is. */
  #putOutputBy(id: AllocationId, stream: LogStream, isTraceless: boolean): number {
    const path = this.output(stream);
    const own = this.#places.output(id, stream);
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (!found) return sizeOf(own);
    if (found.size > 0) renameSync(path, own);
    else if (!isTraceless || !isFresh(found)) unlinkSync(path);
    return found.size;
  }

  /** False when files of the attempt have its name. */
  #putFolderBy(id: AllocationId, isTraceless: boolean): boolean {
    const found = lstatSync(this.folder, { throwIfNoEntry: false });
    if (!found) return !existsSync(this.#places.work(id));
    const isClean = found.isDirectory() && (found.mode & 0o7777) === 0o700 && readdirSync(this.folder).length === 0;
    if (isClean && isTraceless) return true;
    renameSync(this.folder, this.#places.work(id));
    this.#hasFolder = false;
    return false;
  }
}

/** Only what nobody else can hold: a second link would share the next attempt's output. */
function isFresh(found: Stats): boolean {
  return found.isFile() && found.nlink === 1 && (found.mode & 0o600) === 0o600;
}
