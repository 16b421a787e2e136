import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import type { Artifact } from '../../shared/artifact.js';
import { type BackoffPolicy, backoffMs } from '../../shared/backoff.js';
import type { Clock } from '../../shared/clock.js';
import { AppError, CODES, isAppError } from '../../shared/errors.js';
import type { Random } from '../../shared/random.js';

/** Where bytes come from. */
export interface Source {
  /** How often it is tried before the last error counts. */
  readonly maxTries: number;
  /** The content from `offset` on, or from the beginning where that cannot be had. Passing faults are retryable. */
  open(offset: number, signal: AbortSignal): Promise<Opened>;
}

export interface Opened {
  readonly startsAt: number;
  readonly content: AsyncIterable<Uint8Array>;
}

export interface Effort {
  readonly clock: Clock;
  readonly random: Random;
  readonly signal: AbortSignal;
  /** Told of each fault that is waited out. */
  readonly waits: (error: unknown, delayMs: number) => void;
}

const RETRY: BackoffPolicy = { firstMs: 500, maxMs: 30_000, factor: 2 };

/** Writes all of a source into a new file, going on where it broke off; says what was written. */
export async function fetchInto(file: FileHandle, source: Source, effort: Effort): Promise<Artifact> {
  const copy = new Copy(file);
  await persist(() => copy.goOn(source, effort.signal), source.maxTries, effort);
  return copy.written();
}

/** Repeats what fails for reasons that pass. Throws the last error, and at once when the signal aborts. */
export async function persist<T>(attempt: () => Promise<T>, maxTries: number, effort: Effort): Promise<T> {
  const { clock, random, signal } = effort;
  for (let tries = 1; ; tries += 1) {
    signal.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      signal.throwIfAborted();
      if (!isPassing(error) || tries >= maxTries) throw error;
      const delayMs = backoffMs(RETRY, tries, random);
      effort.waits(error, delayMs);
      await pause(clock, delayMs, signal);
    }
  }
}

function isPassing(error: unknown): boolean {
  return isAppError(error) && CODES[error.code].retryable;
}

function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      cancel();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const cancel = clock.after(delayMs, done);
    signal.addEventListener('abort', done);
  });
}

class Copy {
  readonly #file: FileHandle;
  #hash: Hash = createHash('sha256');
  #size = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  async goOn(source: Source, signal: AbortSignal): Promise<void> {
    const { startsAt, content } = await source.open(this.#size, signal);
    if (startsAt !== this.#size) await this.#startOver();
    for await (const piece of content) {
      signal.throwIfAborted();
      await this.#write(piece);
    }
  }

  written(): Artifact {
    return { sha256: this.#hash.digest('hex'), sizeBytes: this.#size };
  }

  async #startOver(): Promise<void> {
    await this.#file.truncate(0);
    this.#hash = createHash('sha256');
    this.#size = 0;
  }

  async #write(piece: Uint8Array): Promise<void> {
    try {
      for (let done = 0; done < piece.length; ) {
        const { bytesWritten } = await this.#file.write(piece, done, piece.length - done, this.#size + done);
        done += bytesWritten;
      }
    } catch (cause) {
      throw new AppError('task-start-failed', `it cannot be written on the node: ${(cause as Error).message}`, {
        cause,
      });
    }
    this.#hash.update(piece);
    this.#size += piece.length;
  }
}
