import { closeSync, fdatasync, fstatSync, fsync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { crc32 } from 'node:zlib';

/** `berth SEQUENCE BYTES CRC32`: what follows the line are so many bytes of text, and after these what was there before. */
const HEADER = /^berth (\d+) (\d+) ([0-9a-f]{8})\n/;
const MAX_HEADER_BYTES = 64;
/** A file grows by whole steps of this, so that it seldom grows. */
const STEP_BYTES = 64 * 1024;
const FILLER = '\n';

interface Version {
  readonly sequence: number;
  readonly text: string;
}

/**
 * A text that is on disk in its newest version or in the one before, whatever is cut off when.
 *
 * Two files hold the last two versions, and a write goes over the older one where that lies. The file system itself then
 * has nothing to write down, which makes this ten times as fast as a new file that takes the place of the old one.
 */
export class TwinFiles {
  readonly #paths: readonly [string, string];
  /** Of the version being written; its text begins at MAX_HEADER_BYTES. Kept, since new memory costs more than its use. */
  #page = Buffer.alloc(STEP_BYTES);
  #sequence = 0;
  /** Which of them the next version goes to. */
  #next: 0 | 1 = 0;

  constructor(path: string) {
    this.#paths = [path, `${path}.twin`];
  }

  /** Null when there is none yet. Throws when files are there and no version of a text is whole. */
  read(): string | null {
    const found = this.#paths.map(contentOf);
    if (found.every((content) => content === null)) return null;
    const [first, second] = found.map((content) => (content === null ? undefined : versionIn(content)));
    const newest = (second?.sequence ?? -1) > (first?.sequence ?? -1) ? second : first;
    if (newest === undefined) throw new Error('it is cut off');
    this.#sequence = newest.sequence;
    this.#next = newest === first ? 1 : 0;
    return newest.text;
  }

  /** Resolves when the parts are on disk as one text. When it rejects, the version before is the newest still. */
  async write(parts: readonly Uint8Array[]): Promise<void> {
    const sequence = this.#sequence + 1;
    await place(this.#paths[this.#next], this.#laidOut(parts, sequence));
    this.#sequence = sequence;
    this.#next = this.#next === 0 ? 1 : 0;
  }

  #laidOut(parts: readonly Uint8Array[], sequence: number): Buffer {
    const textBytes = parts.reduce((sum, { length }) => sum + length, 0);
    const end = MAX_HEADER_BYTES + textBytes;
    if (end > this.#page.length) this.#page = Buffer.alloc(Math.ceil(end / STEP_BYTES) * STEP_BYTES);
    let at = MAX_HEADER_BYTES;
    for (const part of parts) {
      this.#page.set(part, at);
      at += part.length;
    }
    const sum = crc32(this.#page.subarray(MAX_HEADER_BYTES, end)).toString(16).padStart(8, '0');
    const header = `berth ${sequence} ${textBytes} ${sum}\n`;
    const from = MAX_HEADER_BYTES - header.length;
    this.#page.write(header, from, 'latin1');
    return this.#page.subarray(from, end);
  }
}

const flush = promisify(fdatasync);
const flushFolder = promisify(fsync);

/** Only what waits for the disk leaves this thread: the rest is less work than a round through the thread pool. */
async function place(path: string, bytes: Buffer): Promise<void> {
  const file = openExisting(path);
  if (file === undefined) return create(path, bytes);
  await withFile(file, () => overwrite(file, bytes));
}

async function overwrite(file: number, bytes: Buffer): Promise<void> {
  const { size } = fstatSync(file);
  writeWhole(file, bytes.length > size ? filled(bytes) : bytes);
  await flush(file);
}

/** One that is not there yet appears whole. */
async function create(path: string, bytes: Buffer): Promise<void> {
  const temporary = `${path}.new`;
  const file = openSync(temporary, 'w', 0o600);
  await withFile(file, () => overwrite(file, bytes));
  renameSync(temporary, path);
  const folder = openSync(dirname(path), 'r');
  await withFile(folder, () => flushFolder(folder));
}

function filled(bytes: Buffer): Buffer {
  const size = Math.ceil(bytes.length / STEP_BYTES) * STEP_BYTES;
  return Buffer.concat([bytes, Buffer.alloc(size - bytes.length, FILLER)]);
}

function writeWhole(file: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at, bytes.length - at, at);
}

async function withFile(file: number, use: () => Promise<void>): Promise<void> {
  try {
    await use();
  } finally {
    closeSync(file);
  }
}

function openExisting(path: string): number | undefined {
  return unlessAbsent(() => openSync(path, 'r+'));
}

function contentOf(path: string): Buffer | null {
  return unlessAbsent(() => readFileSync(path)) ?? null;
}

function unlessAbsent<Value>(get: () => Value): Value | undefined {
  try {
    return get();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Undefined when it is not whole. A text without the line is of a version of this program that had no twins. */
function versionIn(content: Buffer): Version | undefined {
  const header = HEADER.exec(content.subarray(0, MAX_HEADER_BYTES).toString('latin1'));
  if (!header) return content[0] === '{'.charCodeAt(0) ? { sequence: 0, text: content.toString('utf8') } : undefined;
  const [line, sequence, length, sum] = header;
  const bytes = content.subarray(line.length, line.length + Number(length));
  const isWhole = bytes.length === Number(length) && crc32(bytes) === Number.parseInt(sum ?? '', 16);
  return isWhole ? { sequence: Number(sequence), text: bytes.toString('utf8') } : undefined;
}
