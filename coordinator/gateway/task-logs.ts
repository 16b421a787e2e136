import { open, stat } from 'node:fs/promises';
import type { Cancel, Clock, EpochMs } from '../../shared/clock.js';
import { sleep } from '../../shared/clock.js';
import { AppError } from '../../shared/errors.js';
import { type AllocationRef, parseAllocationId } from '../../shared/ids.js';
import type { Log } from '../../shared/log.js';
import type { LogAck, LogChunk, LogStream } from '../../shared/wire/messages.js';
import { ifPresent } from './disk.js';
import { GroupFlush } from './group-flush.js';
import { LogFile, readGap, streamBytes } from './log-file.js';
import { type LogPaths, logPaths } from './log-paths.js';
import { type MarkReader, readMarks, type TimeMark } from './log-times.js';
import { LogWriter } from './log-writer.js';

const MIB = 1024 ** 2;

export const TASK_LOG_LIMITS = {
  /** Of one stream; what a task writes beyond it is counted and dropped. */
  maxStreamBytes: 1024 ** 3,
  maxOpenFiles: 256,
  /** After a failed write the stream rests this long before the agent is asked to offer its bytes again. */
  retryAfterMs: 5_000,
} as const;

export interface TaskLogsOptions {
  readonly stateDir: string;
  readonly clock: Clock;
  readonly log: Log;
  /** TASK_LOG_LIMITS.maxStreamBytes when absent. */
  readonly maxStreamBytes?: number;
}

/**
 * The output of attempts, one file a stream, in a folder of its job. It outlives nodes, and this process.
 *
 * An answer `offset` says that the bytes up to there have been written and survive this process; they survive the loss
 * of power once the answer says `complete`. Until then the agent keeps its copy, and after a loss it is asked to go
 * back to what is there. A full disk stops nothing but the output itself: the bytes stay with the agent.
 */
export class TaskLogs {
  readonly #options: TaskLogsOptions;
  readonly #maxStreamBytes: number;
  /** By path; in the order of their last use. */
  readonly #writers = new Map<string, LogWriter>();
  readonly #watchers = new Map<string, Set<() => void>>();
  readonly #folders = new GroupFlush();
  #isFailing = false;

  constructor(options: TaskLogsOptions) {
    this.#options = options;
    this.#maxStreamBytes = options.maxStreamBytes ?? TASK_LOG_LIMITS.maxStreamBytes;
  }

  /**
   * Takes a piece of output over. The answer is where the stream stands now: behind the chunk when it was taken,
   * before it when bytes between are missing, or could not be written.
   * `limitMiB`, the job's own, counts when it is below what is kept of any stream.
   * Rejects with `protocol-violation` for a name that is none; a disk that cannot be written is not an error here.
   */
  async write(chunk: LogChunk, limitMiB?: number): Promise<LogAck> {
    const { allocationId, stream } = chunk;
    const ref = parseAllocationId(allocationId);
    if (ref === undefined) throw new AppError('protocol-violation', `${allocationId} is no allocation id`);
    const paths = this.#paths(ref, stream);
    const writer = this.#writer(paths);
    const { hasFailed, ...position } = await writer.enqueue(() => this.#append({ paths, writer, limitMiB }, chunk));
    this.#closeIdle();
    if (hasFailed) await sleep(this.#options.clock, TASK_LOG_LIMITS.retryAfterMs);
    return { allocationId, stream, ...position };
  }

  /** At most `maxBytes` from `offset`; empty at the end of what has arrived. */
  async read(ref: AllocationRef, stream: LogStream, offset: number, maxBytes: number): Promise<Uint8Array> {
    const paths = this.#paths(ref, stream);
    // In this order, for the file may get its final name between the two.
    const file = (await ifPresent(() => open(paths.part))) ?? (await ifPresent(() => open(paths.whole)));
    if (file === undefined) return new Uint8Array(0);
    try {
      const { size } = await file.stat();
      const buffer = new Uint8Array(Math.max(0, Math.min(maxBytes, size - offset)));
      const { bytesRead } = await file.read(buffer, 0, buffer.length, offset);
      return buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  }

  /** Bytes that have arrived and were kept. */
  async size(ref: AllocationRef, stream: LogStream): Promise<number> {
    const paths = this.#paths(ref, stream);
    const found = (await ifPresent(() => stat(paths.part))) ?? (await ifPresent(() => stat(paths.whole)));
    return found?.size ?? 0;
  }

  /** When the bytes from `from` to `to` came: marks, the first at or before `from`. */
  times(ref: AllocationRef, stream: LogStream, from: number, to: number): Promise<readonly TimeMark[]> {
    return this.#marks(ref, stream, [], (marks) => marks.between(from, to));
  }

  /** The first byte that came at `at` or later; where the next one will be, when there is none. */
  async offsetSince(ref: AllocationRef, stream: LogStream, at: EpochMs): Promise<number> {
    const size = await this.size(ref, stream);
    return (await this.#marks(ref, stream, 0, (marks) => marks.since(at))) ?? size;
  }

  /** Bytes that followed those and were dropped; known for certain once the stream is complete. */
  truncatedBytes(ref: AllocationRef, stream: LogStream): Promise<number> {
    return readGap(this.#paths(ref, stream));
  }

  /** True once the agent has said that nothing more will come, and all of it survives the loss of power. */
  async isComplete(ref: AllocationRef, stream: LogStream): Promise<boolean> {
    return (await ifPresent(() => stat(this.#paths(ref, stream).whole))) !== undefined;
  }

  /** Calls `listener` after bytes have arrived or the stream became complete. */
  watch(ref: AllocationRef, stream: LogStream, listener: () => void): Cancel {
    const key = this.#paths(ref, stream).whole;
    const listeners = this.#watchers.get(key) ?? new Set();
    const entry = (): void => listener();
    this.#watchers.set(key, listeners.add(entry));
    return () => {
      listeners.delete(entry);
      if (listeners.size === 0 && this.#watchers.get(key) === listeners) this.#watchers.delete(key);
    };
  }

  /** Waits for what is under way and closes every file. */
  async close(): Promise<void> {
    await Promise.all([...this.#writers.values()].map((writer) => writer.enqueue(() => this.#suspend(writer))));
    this.#writers.clear();
  }

  async #marks<T>(ref: AllocationRef, stream: LogStream, none: T, look: (marks: MarkReader) => Promise<T>): Promise<T> {
    const paths = this.#paths(ref, stream);
    const found = (await ifPresent(() => stat(paths.part))) ?? (await ifPresent(() => stat(paths.whole)));
    return found === undefined ? none : readMarks(paths.times, found.mtimeMs, look);
  }

  #paths(ref: AllocationRef, stream: LogStream): LogPaths {
    return logPaths(this.#options.stateDir, ref, stream);
  }

  #writer(paths: LogPaths): LogWriter {
    const writer = this.#writers.get(paths.whole) ?? new LogWriter();
    this.#writers.delete(paths.whole);
    this.#writers.set(paths.whole, writer);
    return writer;
  }

  async #append({ paths, writer, limitMiB }: Place, chunk: LogChunk): Promise<Position> {
    const maxBytes = Math.min(this.#maxStreamBytes, (limitMiB ?? Number.POSITIVE_INFINITY) * MIB);
    try {
      writer.file ??= await LogFile.open(paths, maxBytes);
      const position = await (writer.file ? this.#grow(paths, writer.file, chunk) : this.#wholeAlready(paths));
      if (position.complete) await closeFile(writer);
      this.#worked();
      return position;
    } catch (error) {
      this.#failed(error);
      const offset = writer.file?.size ?? 0;
      await closeFile(writer).catch((failure: unknown) => this.#failed(failure));
      return { offset, complete: false, hasFailed: true };
    }
  }

  async #grow(paths: LogPaths, file: LogFile, chunk: LogChunk): Promise<Position> {
    const before = file.size;
    await file.append(chunk, this.#options.clock.now() - (chunk.ageMs ?? 0));
    const isWhole = chunk.last && file.size >= chunk.offset + chunk.bytes.length;
    if (isWhole) {
      await file.finish();
      await this.#folders.flush(paths.directory);
    }
    if (isWhole || file.size > before) this.#tellWatchers(paths);
    return { offset: file.size, complete: isWhole, hasFailed: false };
  }

  /** The agent did not get the answer; or the flush of the folder had failed, and is made good here. */
  async #wholeAlready(paths: LogPaths): Promise<Position> {
    await this.#folders.flush(paths.directory);
    const { size } = await stat(paths.whole);
    return { offset: await streamBytes(paths, size), complete: true, hasFailed: false };
  }

  #tellWatchers(paths: LogPaths): void {
    for (const listener of [...(this.#watchers.get(paths.whole) ?? [])]) listener();
  }

  /** Keeps the number of open files bounded, by closing those that were not used for longest. */
  #closeIdle(): void {
    let excessCount = this.#writers.size - TASK_LOG_LIMITS.maxOpenFiles;
    for (const [key, writer] of this.#writers) {
      if (excessCount <= 0) return;
      if (!writer.isIdle) continue;
      excessCount -= 1;
      // A chunk that comes meanwhile waits in the same queue, and keeps its writer.
      const closed = writer.enqueue(() => this.#suspend(writer));
      void closed.then(() => {
        if (writer.isIdle) this.#writers.delete(key);
      });
    }
  }

  /** Never rejects: what could not be kept is asked of the agent again. */
  async #suspend(writer: LogWriter): Promise<void> {
    try {
      await writer.file?.saveGap();
      await closeFile(writer);
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    if (!this.#isFailing) this.#options.log.error('task output cannot be written; agents keep it meanwhile', { error });
    this.#isFailing = true;
  }

  #worked(): void {
    if (this.#isFailing) this.#options.log.info('task output is written again');
    this.#isFailing = false;
  }
}

interface Place {
  readonly paths: LogPaths;
  readonly writer: LogWriter;
  readonly limitMiB: number | undefined;
}

interface Position {
  readonly offset: number;
  readonly complete: boolean;
  readonly hasFailed: boolean;
}

async function closeFile(writer: LogWriter): Promise<void> {
  const file = writer.file;
  writer.file = undefined;
  await file?.close();
}
