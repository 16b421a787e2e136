import { closeSync, constants, fdatasyncSync, openSync, readSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';

/**
 * Remembers, in a small file beside the log, the last event whose append was acknowledged.
 *
 * A log that ends before the mark has lost acknowledged events, however healthy it looks: its WAL was deleted or cut,
 * or its last transaction was damaged. The mark is written after the append is durable and is not synced itself, so
 * after power loss it may lag behind, which only weakens the check; it can never run ahead of an honest disk.
 */
export class AcknowledgedMark {
  readonly #file: number;
  /** What the file said when it was opened; 0 when it was absent or unreadable. */
  readonly foundSeq: number;

  constructor(path: string) {
    this.#file = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    this.foundSeq = readMark(this.#file);
  }

  /** Cost: one write of 26 bytes into the page cache. */
  raise(seq: number): void {
    writeSync(this.#file, markText(seq), 0);
  }

  close(): void {
    fdatasyncSync(this.#file);
    closeSync(this.#file);
  }
}

const MARK_BYTES = 26;

/** Of constant length, so that each mark overwrites the one before it whole. */
function markText(seq: number): string {
  const digits = String(seq).padStart(16, '0');
  return `${digits} ${crc32(digits).toString(16).padStart(8, '0')}\n`;
}

function readMark(file: number): number {
  const bytes = Buffer.alloc(MARK_BYTES);
  readSync(file, bytes, 0, MARK_BYTES, 0);
  const text = bytes.toString('latin1');
  const seq = Number(text.slice(0, 16));
  return Number.isSafeInteger(seq) && text === markText(seq) ? seq : 0;
}
