import { closeSync, constants, openSync, readSync } from 'node:fs';

/** Longer than any record of /dev/kmsg, each of which is one read. */
const READ_BYTES = 16_384;
/** Reads of one call; what is left comes with the next. */
const MAX_READS = 20_000;
/** A line that does not end is none of the kernel's. */
const MAX_LINE_CHARS = 65_536;

/** The kernel's messages, from /dev/kmsg or a file or pipe of such lines; from their beginning, each line once. */
export class KernelLog {
  readonly #path: string;
  readonly #buffer = Buffer.alloc(READ_BYTES);
  #file: number | undefined;
  #rest = '';

  constructor(path: string) {
    this.#path = path;
  }

  /** Lines since the call before that have this in them; undefined while the log cannot be read. Never waits. */
  linesWith(text: string): readonly string[] | undefined {
    const found: string[] = [];
    try {
      this.#file ??= openSync(this.#path, constants.O_RDONLY | constants.O_NONBLOCK);
      for (let reads = 0; reads < MAX_READS; reads += 1) {
        const piece = this.#read(this.#file);
        if (piece === '') break;
        const lines = (this.#rest + (piece ?? '')).split('\n');
        this.#rest = (lines.pop() ?? '').slice(-MAX_LINE_CHARS);
        for (const line of lines) if (line.includes(text)) found.push(line);
      }
      return found;
    } catch {
      this.close();
      return undefined;
    }
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  /** Empty when there is nothing yet; null when records were written over before they were read. */
  #read(file: number): string | null {
    try {
      return this.#buffer.toString('utf8', 0, readSync(file, this.#buffer, 0, READ_BYTES, null));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EAGAIN') return '';
      if (code === 'EPIPE') return null;
      throw error;
    }
  }
}
