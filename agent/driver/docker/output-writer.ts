import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { type Clock, sleep } from '../../../shared/clock.js';
import type { AllocationId } from '../../../shared/ids.js';
import type { Log } from '../../../shared/log.js';
import type { LogStream } from '../../../shared/wire/messages.js';
import { type Frame, framesOf } from './frames.js';
import type { Seams, Spool } from './spool.js';

/** A full disk is tried again; meanwhile nothing is read, and the task waits at its next line. */
const WRITE_RETRY_MS = 1_000;

/** Writes one container's output into its spool files: as it comes, or from Docker's own copy what they lack of it. */
export class OutputWriter {
  readonly #files: Readonly<Record<LogStream, number>>;
  readonly #spool: Spool;
  readonly #id: AllocationId;
  readonly #clock: Clock;
  readonly #log: Log;
  #seams: Seams;
  #isClosed = false;

  constructor(spool: Spool, id: AllocationId, { clock, log }: { readonly clock: Clock; readonly log: Log }) {
    spool.begin(id);
    this.#spool = spool;
    this.#id = id;
    this.#files = {
      stdout: openSync(spool.output(id, 'stdout'), 'a+'),
      stderr: openSync(spool.output(id, 'stderr'), 'a+'),
    };
    this.#seams = spool.seams(id);
    this.#clock = clock;
    this.#log = log;
  }

  /** Takes what comes from the container itself to its end, however it ends. */
  async drain(source: AsyncIterable<Buffer>): Promise<void> {
    for await (const { stream, bytes } of framesOf(source)) {
      if (this.#isClosed) return;
      await this.#write(stream, bytes);
    }
  }

  /**
   * Takes Docker's copy from its beginning to its end, however it ends; what stands in the files already is not written
   * again. A daemon that died may have sent what it had not yet copied: where a record is another than stands in the
   * file, the copy goes on behind the file, and that is noted, for whoever reads the copy again.
   */
  async drainCopy(source: AsyncIterable<Buffer>): Promise<void> {
    const passed = { stdout: 0, stderr: 0 };
    for await (const frame of framesOf(source)) {
      if (this.#isClosed) return;
      await this.#write(frame.stream, this.#lacking(frame, passed[frame.stream]));
      passed[frame.stream] += frame.bytes.length;
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    closeSync(this.#files.stdout);
    closeSync(this.#files.stderr);
  }

  /** What of a record, before which the copy had so many bytes, is not on file. */
  #lacking({ stream, bytes }: Frame, passed: number): Uint8Array {
    const { copyBytes, fileBytes } = this.#seams[stream];
    if (passed < copyBytes) return bytes.subarray(bytes.length);
    const file = this.#files[stream];
    const expected = Buffer.alloc(bytes.length);
    const count = readSync(file, expected, 0, expected.length, fileBytes + passed - copyBytes);
    if (expected.subarray(0, count).equals(bytes.subarray(0, count))) return bytes.subarray(count);
    this.#seams = { ...this.#seams, [stream]: { copyBytes: passed, fileBytes: fstatSync(file).size } };
    this.#spool.keepSeams(this.#id, this.#seams);
    return bytes;
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
