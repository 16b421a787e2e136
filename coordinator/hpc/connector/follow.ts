import type { RemoteFiles } from '../backend.js';
import { HPC_LIMITS } from '../remote-job.js';
import { outputFile, type Submission } from '../submission.js';

/** Where output goes; resolves when more may be written. */
export type Print = (stream: 'out' | 'err', bytes: Uint8Array) => Promise<void>;

/** Pieces of one file before others, and the job's state, have their turn. */
const MAX_PIECES = 16;

/** Prints what tasks have written since the last time, by offset: nothing twice, and nothing is left out. */
export class Follower {
  readonly #files: RemoteFiles;
  readonly #submission: Submission;
  readonly #print: Print;
  /** Bytes by name of the file. */
  readonly printed: Map<string, number>;

  constructor(
    print: Print,
    from: { readonly files: RemoteFiles; readonly submission: Submission },
    printed: Readonly<Record<string, number>>,
  ) {
    this.#files = from.files;
    this.#submission = from.submission;
    this.#print = print;
    this.printed = new Map(Object.entries(printed));
  }

  /** True when some file may have more. */
  async pump(indexes: Iterable<number>, signal: AbortSignal): Promise<boolean> {
    let hasMore = false;
    for (const index of indexes) {
      for (const stream of ['out', 'err'] as const) {
        if (await this.#pumpFile(index, stream, signal)) hasMore = true;
      }
    }
    return hasMore;
  }

  async #pumpFile(index: number, stream: 'out' | 'err', signal: AbortSignal): Promise<boolean> {
    const name = outputFile(index, stream);
    const path = `${this.#submission.work}/${name}`;
    for (let count = 0; count < MAX_PIECES; count += 1) {
      const offset = this.printed.get(name) ?? 0;
      const bytes = await this.#files.read(path, { offset, maxBytes: HPC_LIMITS.maxPieceBytes }, signal);
      if (bytes === null || bytes.length === 0) return false;
      await this.#print(stream, bytes);
      this.printed.set(name, offset + bytes.length);
    }
    return true;
  }
}
