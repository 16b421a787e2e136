import { closeSync, openSync, writeSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { type Clock, sleep } from '../../../shared/clock.js';
import type { AllocationId } from '../../../shared/ids.js';
import type { Log } from '../../../shared/log.js';
import type { LogStream } from '../../../shared/wire/messages.js';
import type { OutputBytes } from '../driver.js';
import { bytesFrom } from '../output-file.js';
import type { Spool } from './spool.js';

const HEADER_BYTES = 8;
const STDERR = 2;
/** A full disk is tried again; meanwhile nothing is read, and the task waits at its next line. */
const WRITE_RETRY_MS = 1_000;

/**
 * Writes one container's output into its spool files.
 *
 * Docker sends both streams as one, in pieces with a header of eight bytes: the stream's number, three zeros, the
 * length. A piece may be cut anywhere on its way.
 */
export class OutputWriter {
  readonly #files: Readonly<Record<LogStream, number>>;
  readonly #spool: Spool;
  readonly #id: AllocationId;
  readonly #clock: Clock;
  readonly #log: Log;
  #isClosed = false;

  constructor(spool: Spool, id: AllocationId, { clock, log }: { readonly clock: Clock; readonly log: Log }) {
    spool.begin(id);
    this.#spool = spool;
    this.#id = id;
    this.#files = {
      stdout: openSync(spool.output(id, 'stdout'), 'a'),
      stderr: openSync(spool.output(id, 'stderr'), 'a'),
    };
    this.#clock = clock;
    this.#log = log;
  }

  /**
   * Takes a stream to its end, however it ends. It begins behind `base` bytes of each file, and what stands there already
   * is not written again. A daemon that dies may have sent what it had not yet copied: where its copy goes on otherwise
   * than the file does, it goes on behind the file.
   */
  async drain(source: Readable, base: OutputBytes): Promise<void> {
    const { stdoutBytes, stderrBytes } = this.#spool.outputBytes(this.#id);
    const known = { stdout: stdoutBytes, stderr: stderrBytes };
    const position = { stdout: base.stdoutBytes, stderr: base.stderrBytes };
    const header = Buffer.alloc(HEADER_BYTES);
    let headerBytes = 0;
    let left = 0;
    try {
      for await (const chunk of source as AsyncIterable<Buffer>) {
        let at = 0;
        while (at < chunk.length && !this.#isClosed) {
          if (left === 0) {
            const taken = chunk.copy(header, headerBytes, at, at + HEADER_BYTES - headerBytes);
            headerBytes += taken;
            at += taken;
            if (headerBytes < HEADER_BYTES) continue;
            headerBytes = 0;
            left = header.readUInt32BE(4);
            continue;
          }
          const piece = chunk.subarray(at, at + left);
          at += piece.length;
          left -= piece.length;
          const stream = header[0] === STDERR ? 'stderr' : 'stdout';
          const repeated = this.#repeated(stream, piece, { from: position[stream], to: known[stream] });
          position[stream] = repeated < piece.length ? known[stream] : position[stream] + repeated;
          await this.#write(stream, piece.subarray(repeated));
        }
        if (this.#isClosed) return;
      }
    } catch {
      // The daemon went away in the middle: the caller asks what became of the container, and comes back.
    }
  }

  /** How many bytes at the beginning of the piece stand in the file already. */
  #repeated(
    stream: LogStream,
    piece: Uint8Array,
    { from, to }: { readonly from: number; readonly to: number },
  ): number {
    if (from >= to) return 0;
    const expected = bytesFrom(this.#spool.output(this.#id, stream), from, Math.min(piece.length, to - from));
    let count = 0;
    while (count < expected.length && expected[count] === piece[count]) count += 1;
    return count;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    closeSync(this.#files.stdout);
    closeSync(this.#files.stderr);
  }

  async #write(stream: LogStream, bytes: Uint8Array): Promise<void> {
    let rest = bytes;
    while (rest.length > 0 && !this.#isClosed) {
      try {
        rest = rest.subarray(writeSync(this.#files[stream], rest));
      } catch (error) {
        this.#log.error('output could not be put on file; the task waits', { error: (error as Error).message });
        await sleep(this.#clock, WRITE_RETRY_MS);
      }
    }
  }
}
