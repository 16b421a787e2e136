import { type FileHandle, readFile, rename, stat } from 'node:fs/promises';
import type { EpochMs } from '../../shared/clock.js';
import type { LogChunk } from '../../shared/wire/messages.js';
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
  #missing: readonly MissingBytes[];

  /** Goes on with what is there; undefined when the stream is whole and wants nothing more. */
  static async open(paths: LogPaths, maxBytes: number): Promise<LogFile | undefined> {
    if (await ifPresent(() => stat(paths.whole))) return undefined;
    const handle = await openForWriting(paths.part);
    try {
      const { size: storedBytes, mtimeMs } = await handle.stat();
      const times = await LogTimes.open(paths.times, storedBytes, mtimeMs);
      const dropped = { truncatedBytes: await readGap(paths), missing: await readMissing(paths, storedBytes) };
      return new LogFile({ paths, maxBytes, handle, times, storedBytes, ...dropped });
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
    this.#missing = found.missing;
  }

  /** Position in the stream from which bytes are wanted; dropped and missing ones count. */
  get size(): number {
    return this.#storedBytes + this.#truncatedBytes + beyond(this.#missing);
  }

  /**
   * Takes what is new of the bytes, which came at `at`. Nothing when some before them have not come, unless the chunk says
   * that they never will: a remark stands in their place. Beyond the limit bytes are only counted.
   */
  async append({ offset, bytes, missingBytes = 0 }: Piece, at: EpochMs): Promise<void> {
    if (offset - missingBytes > this.size) return;
    if (offset > this.size) await this.#skip(offset - this.size, at);
    const fresh = bytes.subarray(this.size - offset);
    const kept = fresh.subarray(0, Math.max(0, this.#maxBytes - this.#storedBytes));
    if (kept.length > 0) await this.#times.note(this.#storedBytes, at);
    await writeAll(this.#handle, kept, this.#storedBytes);
    this.#storedBytes += kept.length;
    this.#truncatedBytes += fresh.length - kept.length;
  }

  async #skip(byteCount: number, at: EpochMs): Promise<void> {
    if (this.#storedBytes >= this.#maxBytes) {
      this.#truncatedBytes += byteCount;
      return;
    }
    const remark = Buffer.from(`\n[berth: ${byteCount} bytes are missing here, for which the node had no room]\n`);
    await this.#times.note(this.#storedBytes, at);
    await writeAll(this.#handle, remark, this.#storedBytes);
    this.#missing = [...this.#missing, { at: this.#storedBytes, remarkBytes: remark.length, bytes: byteCount }];
    this.#storedBytes += remark.length;
    await replaceFile(this.#paths.missing, JSON.stringify(this.#missing));
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
  readonly missing: readonly MissingBytes[];
}

type Piece = Pick<LogChunk, 'offset' | 'bytes' | 'missingBytes'>;

/** A remark in the file that stands for bytes of the stream. */
interface MissingBytes {
  readonly at: number;
  readonly remarkBytes: number;
  readonly bytes: number;
}

/** By how much positions in the stream are beyond those in the file. */
function beyond(missing: readonly MissingBytes[]): number {
  return missing.reduce((sum, { bytes, remarkBytes }) => sum + bytes - remarkBytes, 0);
}

/** A remark that the loss of power took from the end of the file is none. */
async function readMissing(paths: LogPaths, storedBytes: number): Promise<readonly MissingBytes[]> {
  const text = await ifPresent(() => readFile(paths.missing, 'utf8'));
  if (text === undefined) return [];
  return (JSON.parse(text) as MissingBytes[]).filter(({ at, remarkBytes }) => at + remarkBytes <= storedBytes);
}

/** The length of a stream whose whole file has so many bytes. */
export async function streamBytes(paths: LogPaths, storedBytes: number): Promise<number> {
  return storedBytes + (await readGap(paths)) + beyond(await readMissing(paths, storedBytes));
}

/** How many bytes of the stream were dropped. */
export async function readGap(paths: LogPaths): Promise<number> {
  return Number((await ifPresent(() => readFile(paths.gap, 'utf8'))) ?? 0);
}
