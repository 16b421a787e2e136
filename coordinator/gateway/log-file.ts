import { type FileHandle, readFile, rename, stat } from 'node:fs/promises';
import type { EpochMs } from '../../shared/clock.js';
import { ifPresent, openForWriting, replaceFile, writeAll } from './disk.js';
import type { LogPaths } from './log-paths.js';
import { LogTimes } from './log-times.js';

/**
 * One stream on disk, open for writing. Calls are made one at a time; after an error only `close` may be called.
 *
 * What was written survives the process at once, and the loss of power only after `finish`.
 */
export class LogFile {
  readonly #paths: LogPaths;
  readonly #maxBytes: number;
  readonly #handle: FileHandle;
  readonly #times: LogTimes;
  #storedBytes: number;
  #truncatedBytes: number;

  /** Goes on with what is there; undefined when the stream is whole and wants nothing more. */
  static async open(paths: LogPaths, maxBytes: number): Promise<LogFile | undefined> {
    if (await ifPresent(() => stat(paths.whole))) return undefined;
    const handle = await openForWriting(paths.part);
    try {
      const { size: storedBytes, mtimeMs } = await handle.stat();
      const times = await LogTimes.open(paths.times, storedBytes, mtimeMs);
      return new LogFile({ paths, maxBytes, handle, times, storedBytes, truncatedBytes: await readGap(paths) });
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  private constructor(found: Found) {
    this.#paths = found.paths;
    this.#maxBytes = found.maxBytes;
    this.#handle = found.handle;
    this.#times = found.times;
    this.#storedBytes = found.storedBytes;
    this.#truncatedBytes = found.truncatedBytes;
  }

  /** Position in the stream from which bytes are wanted; dropped ones count. */
  get size(): number {
    return this.#storedBytes + this.#truncatedBytes;
  }

  /** Takes what is new of the bytes, which came at `at`, nothing when some are missing before them. Beyond the limit they are only counted. */
  async append(offset: number, bytes: Uint8Array, at: EpochMs): Promise<void> {
    if (offset > this.size) return;
    const fresh = bytes.subarray(this.size - offset);
    const kept = fresh.subarray(0, Math.max(0, this.#maxBytes - this.#storedBytes));
    if (kept.length > 0) await this.#times.note(this.#storedBytes, at);
    await writeAll(this.#handle, kept, this.#storedBytes);
    this.#storedBytes += kept.length;
    this.#truncatedBytes += fresh.length - kept.length;
  }

  /** Flushes the bytes and gives the file its final name; the caller flushes the folder, for many files at once. */
  async finish(): Promise<void> {
    await this.saveGap();
    const { onlyTime } = this.#times;
    if (onlyTime !== undefined) await this.#handle.utimes(onlyTime / 1_000, onlyTime / 1_000);
    await this.#handle.sync();
    await rename(this.#paths.part, this.#paths.whole);
  }

  /** Keeps the count of dropped bytes, which the file itself cannot tell to the next one who opens it. */
  async saveGap(): Promise<void> {
    if (this.#truncatedBytes > 0) await replaceFile(this.#paths.gap, String(this.#truncatedBytes));
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

interface Found {
  readonly paths: LogPaths;
  readonly maxBytes: number;
  readonly handle: FileHandle;
  readonly times: LogTimes;
  readonly storedBytes: number;
  readonly truncatedBytes: number;
}

/** How many bytes of the stream were dropped. */
export async function readGap(paths: LogPaths): Promise<number> {
  return Number((await ifPresent(() => readFile(paths.gap, 'utf8'))) ?? 0);
}
