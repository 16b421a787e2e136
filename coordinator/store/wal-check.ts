import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/**
 * Tells the torn end of a write-ahead log from damage in its middle, before SQLite opens it.
 *
 * SQLite replays a WAL up to the first frame whose checksum fails and silently forgets the rest. That is right for the
 * end of an append that power loss interrupted, and wrong for a flipped bit in front of acknowledged appends.
 *
 * A commit returns only after fsync, so a transaction writes its first frame when all earlier ones are on disk whole.
 * Power loss can therefore leave bad frames in the last transaction only. The first bad frame belongs to some
 * transaction T. If T was the last, at most one commit mark (T's own) can stand at or behind that frame; a second one
 * is the mark of a later transaction, and proves that T had been complete: damage.
 *
 * The checksums are chained, so frames behind a bad one prove nothing by theirs; they are counted by the salts that
 * every frame repeats from the header. Frames left over from before the log last restarted have both salts different.
 * Frames left over from a transaction rolled back when the disk was full have our salts, but no commit mark.
 *
 * What this cannot see is damage in the last two transactions that destroyed a commit mark, and damage in the very
 * last one: they look torn. The acknowledged mark (acknowledged-mark.ts) tells those.
 *
 * Source: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
 */
export type WalVerdict = 'whole' | 'torn' | 'damaged';

/**
 * Reads the WAL at `path`; a missing or empty one is whole.
 *
 * Must not run while this process has the WAL open: closing any descriptor of a file drops its POSIX locks.
 * Cost: one pass over the file. Throws the file system's errors.
 */
export function inspectWal(path: string): WalVerdict {
  const file = openIfThere(path);
  if (file === undefined) return 'whole';
  try {
    const size = fstatSync(file).size;
    if (size === 0) return 'whole';
    const header = readHeader(file);
    // The header is synced before the first frame is written, so a bad one with anything behind it was damaged later.
    if (header === undefined) return size > HEADER_BYTES ? 'damaged' : 'torn';
    const verdict = judgeFrames(file, header);
    const hasPartialFrame = (size - HEADER_BYTES) % (FRAME_HEADER_BYTES + header.pageSize) !== 0;
    return verdict === 'whole' && hasPartialFrame ? 'torn' : verdict;
  } finally {
    closeSync(file);
  }
}

const HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
const FRAMES_PER_READ = 64;
const MAGIC_LITTLE_ENDIAN = 0x377f0682;
const MAGIC_BIG_ENDIAN = 0x377f0683;
const MIN_PAGE_BYTES = 512;
const MAX_PAGE_BYTES = 65_536;

/** The two halves of SQLite's running checksum. */
interface Sums {
  readonly first: number;
  readonly second: number;
}

interface WalHeader {
  readonly pageSize: number;
  readonly salts: Sums;
  readonly sums: Sums;
  /** Whether the checksums read their words in little-endian order. */
  readonly isLittleEndian: boolean;
}

function readHeader(file: number): WalHeader | undefined {
  const bytes = new DataView(new ArrayBuffer(HEADER_BYTES));
  if (readSync(file, bytes, 0, HEADER_BYTES, 0) < HEADER_BYTES) return undefined;
  const magic = bytes.getUint32(0);
  if (magic !== MAGIC_LITTLE_ENDIAN && magic !== MAGIC_BIG_ENDIAN) return undefined;
  const isLittleEndian = magic === MAGIC_LITTLE_ENDIAN;
  const sums = addWords(bytes, { from: 0, to: HEADER_BYTES - 8, sums: { first: 0, second: 0 }, isLittleEndian });
  if (!isSame(sums, pairAt(bytes, 24))) return undefined;
  const pageSize = bytes.getUint32(8);
  if (pageSize < MIN_PAGE_BYTES || pageSize > MAX_PAGE_BYTES) return undefined;
  return { pageSize, salts: pairAt(bytes, 16), sums, isLittleEndian };
}

function judgeFrames(file: number, header: WalHeader): WalVerdict {
  let sums: Sums | undefined = header.sums;
  let verdict: WalVerdict = 'whole';
  let commitCount = 0;
  for (const { bytes, from } of eachFrame(file, header.pageSize)) {
    sums = sums && chainedSums(bytes, from, { header, sums });
    if (sums || !repeatsSalt(bytes, from, header)) continue;
    verdict = 'torn';
    if (bytes.getUint32(from + 4) !== 0) commitCount += 1;
    if (commitCount > 1) return 'damaged';
  }
  return verdict;
}

interface Frame {
  /** Valid until the next frame is asked for. */
  readonly bytes: DataView;
  readonly from: number;
}

function* eachFrame(file: number, pageSize: number): Generator<Frame> {
  const frameBytes = FRAME_HEADER_BYTES + pageSize;
  const bytes = new DataView(new ArrayBuffer(frameBytes * FRAMES_PER_READ));
  for (let position = HEADER_BYTES; ; position += bytes.byteLength) {
    const byteCount = readSync(file, bytes, 0, bytes.byteLength, position);
    for (let from = 0; from + frameBytes <= byteCount; from += frameBytes) yield { bytes, from };
    if (byteCount < bytes.byteLength) return;
  }
}

/** The checksum after this frame, or undefined when the frame does not continue the chain. */
function chainedSums(bytes: DataView, from: number, before: { header: WalHeader; sums: Sums }): Sums | undefined {
  const { pageSize, salts, isLittleEndian } = before.header;
  if (!isSame(pairAt(bytes, from + 8), salts)) return undefined;
  const afterHead = addWords(bytes, { from, to: from + 8, sums: before.sums, isLittleEndian });
  const page = from + FRAME_HEADER_BYTES;
  const sums = addWords(bytes, { from: page, to: page + pageSize, sums: afterHead, isLittleEndian });
  return isSame(sums, pairAt(bytes, from + 16)) ? sums : undefined;
}

/** One equal salt is enough: the other may be what was damaged, and a restart of the log changes both. */
function repeatsSalt(bytes: DataView, from: number, { salts }: WalHeader): boolean {
  const own = pairAt(bytes, from + 8);
  return own.first === salts.first || own.second === salts.second;
}

interface Words {
  readonly from: number;
  readonly to: number;
  readonly sums: Sums;
  readonly isLittleEndian: boolean;
}

function addWords(bytes: DataView, { from, to, sums, isLittleEndian }: Words): Sums {
  let { first, second } = sums;
  for (let at = from; at < to; at += 8) {
    first = (first + bytes.getUint32(at, isLittleEndian) + second) >>> 0;
    second = (second + bytes.getUint32(at + 4, isLittleEndian) + first) >>> 0;
  }
  return { first, second };
}

/** Two stored words; unlike the words that are summed, these are always big-endian. */
function pairAt(bytes: DataView, at: number): Sums {
  return { first: bytes.getUint32(at), second: bytes.getUint32(at + 4) };
}

function isSame(left: Sums, right: Sums): boolean {
  return left.first === right.first && left.second === right.second;
}

function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
