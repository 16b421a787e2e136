import { type FileHandle, open, stat, truncate } from 'node:fs/promises';
import type { EpochMs } from '../../shared/clock.js';
import { ifPresent, openForWriting, PRIVATE_FILE, writeAll } from './disk.js';

/** From `offset` on, bytes came at `at` or a little later; the next mark says when that ends. */
export interface TimeMark {
  readonly offset: number;
  readonly at: EpochMs;
}

/** Two doubles: offset, time. */
const MARK_BYTES = 16;
const FIRST_GRAIN_MS = 100;
/** After so many marks they become half as dense, so that years of output need a few MiB of them. */
const MARKS_PER_GRAIN = 64 * 1024;

/**
 * When the bytes of a stream came, as sparse marks in a file beside it.
 *
 * Most streams are short: what came within one grain of time needs no file, since the stream's own modification time
 * says it. Bytes come before or after a mark by at most the grain, 100 ms during the first two hours of output.
 */
export class LogTimes {
  readonly #path: string;
  #count: number;
  #last: TimeMark | undefined;
  /** The only mark so far, and in no file. */
  #isPending: boolean;

  /** Goes on with the marks that are there for the first `storedBytes`; `touchedAt` is when the last of these came. */
  static async open(path: string, storedBytes: number, touchedAt: EpochMs): Promise<LogTimes> {
    const size = (await ifPresent(() => stat(path)))?.size ?? 0;
    let count = Math.floor(size / MARK_BYTES);
    if (size === 0) return new LogTimes(path, 0, storedBytes > 0 ? { offset: 0, at: touchedAt } : undefined);
    const file = await open(path, 'r');
    try {
      let last = await markAt(file, count - 1);
      // What a crash left of marks for bytes that never came.
      while (last !== undefined && last.offset >= storedBytes) {
        count -= 1;
        last = await markAt(file, count - 1);
      }
      if (count * MARK_BYTES < size) await truncate(path, count * MARK_BYTES);
      const only = storedBytes > 0 ? { offset: 0, at: touchedAt } : undefined;
      return new LogTimes(path, count, count === 0 ? only : last);
    } finally {
      await file.close();
    }
  }

  private constructor(path: string, count: number, last: TimeMark | undefined) {
    this.#path = path;
    this.#count = count;
    this.#last = last;
    this.#isPending = count === 0 && last !== undefined;
  }

  /** Bytes from `offset` on came at this time. Called before they are written, in their order. */
  async note(offset: number, at: EpochMs): Promise<void> {
    if (this.#last === undefined) {
      this.#last = { offset, at };
      this.#isPending = true;
      return;
    }
    if (at < this.#last.at + grainMs(this.#count)) return;
    const mark = { offset, at };
    await this.#write(this.#isPending ? [this.#last, mark] : [mark]);
    this.#last = mark;
    this.#isPending = false;
  }

  /** What the stream's modification time has to say, when no file of marks does. */
  get onlyTime(): EpochMs | undefined {
    return this.#isPending ? this.#last?.at : undefined;
  }

  async #write(marks: readonly TimeMark[]): Promise<void> {
    const file = await openForWriting(this.#path);
    try {
      const bytes = Buffer.alloc(marks.length * MARK_BYTES);
      for (const [position, { offset, at }] of marks.entries()) {
        bytes.writeDoubleLE(offset, position * MARK_BYTES);
        bytes.writeDoubleLE(at, position * MARK_BYTES + MARK_BYTES / 2);
      }
      await writeAll(file, bytes, this.#count * MARK_BYTES);
      this.#count += marks.length;
    } finally {
      await file.close();
    }
  }
}

/** The marks of a stream, to be looked up; none when nothing of it is there. */
export interface MarkReader {
  /** Those that say when the bytes from `from` to `to` came, the first at or before `from`; at most MAX_MARKS. */
  between(from: number, to: number): Promise<readonly TimeMark[]>;
  /** The first byte that came at `at` or later, or at most a grain before; all bytes came before when undefined. */
  since(at: EpochMs): Promise<number | undefined>;
}

const MAX_MARKS = 4_096;

/** Reads from the file of marks, or makes one mark of the stream's own modification time. */
export async function readMarks<T>(
  path: string,
  touchedAt: EpochMs,
  look: (marks: MarkReader) => Promise<T>,
): Promise<T> {
  const file = await ifPresent(() => open(path, 'r', PRIVATE_FILE));
  if (file === undefined) return look(onlyMark({ offset: 0, at: touchedAt }));
  try {
    const count = Math.floor((await file.stat()).size / MARK_BYTES);
    return await look(count === 0 ? onlyMark({ offset: 0, at: touchedAt }) : marksOf(file, count));
  } finally {
    await file.close();
  }
}

function onlyMark(mark: TimeMark): MarkReader {
  return {
    between: async () => [mark],
    since: async (at) => (mark.at + FIRST_GRAIN_MS > at ? 0 : undefined),
  };
}

function marksOf(file: FileHandle, count: number): MarkReader {
  return {
    async between(from, to) {
      const first = Math.max(0, (await firstWhere(file, count, ({ offset }) => offset > from)) - 1);
      const marks: TimeMark[] = [];
      for (let position = first; position < count && marks.length < MAX_MARKS; position += 1) {
        const mark = await markAt(file, position);
        if (mark === undefined || mark.offset >= to) break;
        marks.push(mark);
      }
      return marks;
    },
    async since(at) {
      const position = await firstWhere(file, count, (mark, index) => mark.at + grainMs(index) > at);
      return (await markAt(file, position))?.offset;
    },
  };
}

/** Position of the first mark that fits, `count` when none does; all behind one that fits do too. O(log count) reads. */
async function firstWhere(
  file: FileHandle,
  count: number,
  fits: (mark: TimeMark, position: number) => boolean,
): Promise<number> {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const mark = await markAt(file, middle);
    if (mark !== undefined && !fits(mark, middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}

async function markAt(file: FileHandle, position: number): Promise<TimeMark | undefined> {
  if (position < 0) return undefined;
  const bytes = Buffer.alloc(MARK_BYTES);
  const { bytesRead } = await file.read(bytes, 0, MARK_BYTES, position * MARK_BYTES);
  if (bytesRead < MARK_BYTES) return undefined;
  return { offset: bytes.readDoubleLE(0), at: bytes.readDoubleLE(MARK_BYTES / 2) };
}

function grainMs(markCount: number): number {
  return FIRST_GRAIN_MS * 2 ** Math.floor(markCount / MARKS_PER_GRAIN);
}
