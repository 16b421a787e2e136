import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat, statfs, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { ARTIFACT_LIMITS, type Artifact, SHA256 } from '../../shared/artifact.js';
import type { Clock } from '../../shared/clock.js';
import { AppError } from '../../shared/errors.js';
import type { Random } from '../../shared/random.js';
import { codeOf, flushFolder, ifPresent, PRIVATE_DIRECTORY, PRIVATE_FILE, writeAll } from '../gateway/disk.js';
import type { ArtifactStore, ByteRange, Collected } from './artifact-store.js';

export interface FileArtifactStoreOptions {
  /** The store's own folder; made when missing. */
  readonly folder: string;
  readonly clock: Clock;
  readonly random: Random;
  /** ARTIFACT_LIMITS.maxBytes unless a test wants to see the end of it. */
  readonly maxBytes?: number;
}

const INCOMING = 'incoming';
const DRAFT_NAME_BYTES = 8;
/** Room is asked for again after so many bytes. */
const ROOM_EVERY_BYTES = 64 * 1024 * 1024;
const NO_ROOM = new Set<unknown>(['ENOSPC', 'EDQUOT', 'EFBIG']);

/**
 * Artifacts as files that are named after their content, in 256 folders.
 *
 * An upload is written beside them under a name of its own, flushed, and renamed when its digest is known: what has a
 * digest for a name is whole. A name's time of change is when it was last put or found, from which its grace counts.
 */
export class FileArtifactStore implements ArtifactStore {
  readonly #options: FileArtifactStoreOptions;
  #uploadCount = 0;
  /** What finds, keeps and deletes names, one after the other: what was just found is not deleted. */
  #lastTurn: Promise<unknown> = Promise.resolve();

  private constructor(options: FileArtifactStoreOptions) {
    this.#options = options;
  }

  /** Makes the folders, and throws away what uploads that were cut off have left. */
  static async open(options: FileArtifactStoreOptions): Promise<FileArtifactStore> {
    const incoming = join(options.folder, INCOMING);
    try {
      await rm(incoming, { recursive: true, force: true });
      await mkdir(incoming, { recursive: true, mode: PRIVATE_DIRECTORY });
    } catch (cause) {
      throw new AppError('store-unavailable', `no access to the artifacts in ${options.folder}`, { cause });
    }
    return new FileArtifactStore(options);
  }

  async put(content: AsyncIterable<Uint8Array>, expected?: string): Promise<Artifact> {
    const known = expected === undefined ? undefined : await this.find(expected);
    if (known) return known;
    if (this.#uploadCount >= ARTIFACT_LIMITS.maxUploads) {
      throw new AppError('too-many-streams', `${ARTIFACT_LIMITS.maxUploads} uploads are under way already`);
    }
    this.#uploadCount += 1;
    const draft = join(this.#options.folder, INCOMING, this.#options.random.token(DRAFT_NAME_BYTES));
    try {
      const artifact = await this.#write(draft, content);
      if (expected !== undefined && artifact.sha256 !== expected) throw mismatch(artifact.sha256, expected);
      await this.#inTurn(() => this.#keep(draft, artifact.sha256));
      return artifact;
    } catch (error) {
      throw faultOf(error);
    } finally {
      this.#uploadCount -= 1;
      await rm(draft, { force: true });
    }
  }

  async find(sha256: string): Promise<Artifact | undefined> {
    const now = new Date(this.#options.clock.now());
    const path = this.#path(sha256);
    const found = await this.#inTurn(() =>
      ifPresent(async () => {
        await utimes(path, now, now);
        return stat(path);
      }),
    );
    return found && { sha256, sizeBytes: found.size };
  }

  async *read(sha256: string, { from, to }: ByteRange): AsyncGenerator<Uint8Array> {
    if (to <= from) return;
    try {
      yield* createReadStream(this.#path(sha256), { start: from, end: to - 1 });
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
      throw new AppError('not-found', `there is no artifact ${sha256}`, { cause: error });
    }
  }

  async collect(isInUse: (sha256: string) => boolean): Promise<Collected> {
    let count = 0;
    let bytes = 0;
    for (const folder of await readdir(this.#options.folder)) {
      if (folder === INCOMING) continue;
      for (const sha256 of await readdir(join(this.#options.folder, folder))) {
        if (!SHA256.test(sha256) || isInUse(sha256)) continue;
        const deletedBytes = await this.#inTurn(() => this.#deleteOld(sha256));
        if (deletedBytes === undefined) continue;
        count += 1;
        bytes += deletedBytes;
      }
    }
    return { count, bytes };
  }

  /** The size of what was deleted; undefined when it is still in its time of grace. */
  async #deleteOld(sha256: string): Promise<number | undefined> {
    const found = await ifPresent(() => stat(this.#path(sha256)));
    if (!found || found.mtimeMs > this.#options.clock.now() - ARTIFACT_LIMITS.graceMs) return undefined;
    await rm(this.#path(sha256), { force: true });
    return found.size;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#lastTurn.then(work);
    this.#lastTurn = turn.catch(() => {});
    return turn;
  }

  async #write(draft: string, content: AsyncIterable<Uint8Array>): Promise<Artifact> {
    const hash = createHash('sha256');
    const file = await open(draft, 'wx', PRIVATE_FILE);
    try {
      const sizeBytes = await this.#copy(file, hash, content);
      await file.sync();
      return { sha256: hash.digest('hex'), sizeBytes };
    } finally {
      await file.close();
    }
  }

  async #copy(
    file: FileHandle,
    hash: ReturnType<typeof createHash>,
    content: AsyncIterable<Uint8Array>,
  ): Promise<number> {
    const maxBytes = this.#options.maxBytes ?? ARTIFACT_LIMITS.maxBytes;
    let size = 0;
    let roomAskedAt = Number.NEGATIVE_INFINITY;
    for await (const piece of content) {
      if (size + piece.length > maxBytes) {
        throw new AppError('payload-too-large', `an artifact has ${maxBytes} bytes at most`);
      }
      if (size - roomAskedAt >= ROOM_EVERY_BYTES) {
        await this.#checkRoom();
        roomAskedAt = size;
      }
      hash.update(piece);
      await writeAll(file, piece, size);
      size += piece.length;
    }
    return size;
  }

  /** Artifacts must not take the disk from the event log, which lies beside them. */
  async #checkRoom(): Promise<void> {
    const { bavail, blocks, bsize } = await statfs(this.#options.folder);
    const reserved = Math.floor(blocks * ARTIFACT_LIMITS.reservedShare);
    if (bavail > reserved) return;
    throw noRoom(`${bavail * bsize} bytes are free and ${reserved * bsize} are kept for the log`);
  }

  async #keep(draft: string, sha256: string): Promise<void> {
    const path = this.#path(sha256);
    const folder = join(path, '..');
    const isNew = (await mkdir(folder, { recursive: true, mode: PRIVATE_DIRECTORY })) !== undefined;
    const now = new Date(this.#options.clock.now());
    await utimes(draft, now, now);
    await rename(draft, path);
    await flushFolder(folder);
    if (isNew) await flushFolder(this.#options.folder);
  }

  #path(sha256: string): string {
    return join(this.#options.folder, sha256.slice(0, 2), sha256);
  }
}

function mismatch(actual: string, expected: string): AppError {
  return new AppError('digest-mismatch', `the content has the SHA-256 ${actual}, not ${expected}`, {
    hint: 'send it again; if that fails too, the file has changed since its digest was taken',
  });
}

function noRoom(why: string, cause?: unknown): AppError {
  return new AppError('artifacts-full', `the coordinator has no room for this artifact: ${why}`, {
    cause,
    hint: 'make room in its state directory; artifacts that no job refers to are deleted after a day',
  });
}

function faultOf(error: unknown): unknown {
  return NO_ROOM.has(codeOf(error)) ? noRoom((error as Error).message, error) : error;
}
