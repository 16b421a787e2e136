import type { OutputStreamName } from './api.js';
import type { Context } from './context.js';

const NEWLINE = 0x0a;
/** A longer line is printed in pieces of this size, each with its prefix. */
const MAX_HELD_BYTES = 64 * 1024;

export interface PrinterOptions {
  /** Puts `[task] ` before each line, as more than one task is shown. */
  readonly isPrefixed: boolean;
  readonly streams: readonly OutputStreamName[];
}

/** Puts the output of tasks on the screen: bytes as they are for one task, whole lines with a prefix for several. */
export class OutputPrinter {
  readonly #context: Context;
  readonly #options: PrinterOptions;
  readonly #held = new Map<string, { readonly stream: OutputStreamName; readonly label: string; line: Buffer }>();

  constructor(context: Context, options: PrinterOptions) {
    this.#context = context;
    this.#options = options;
  }

  print(label: string, stream: OutputStreamName, bytes: Buffer): void {
    if (!this.#options.streams.includes(stream) || bytes.length === 0) return;
    if (this.#options.isPrefixed) this.#printLines(label, stream, bytes);
    else this.#write(stream, bytes);
  }

  /** Prints the lines that never got their newline. */
  end(): void {
    for (const { stream, label, line } of this.#held.values()) this.#write(stream, prefixed(label, line));
    this.#held.clear();
  }

  /** Holds back the piece of a line after the last newline. */
  #printLines(label: string, stream: OutputStreamName, bytes: Buffer): void {
    const key = `${stream} ${label}`;
    const held = this.#held.get(key) ?? { stream, label, line: Buffer.alloc(0) };
    const joined = Buffer.concat([held.line, bytes]);
    const end = joined.lastIndexOf(NEWLINE) + 1;
    const whole = joined.length - end > MAX_HELD_BYTES ? joined.length : end;
    if (whole > 0) this.#write(stream, prefixed(label, joined.subarray(0, whole)));
    held.line = joined.subarray(whole);
    if (held.line.length === 0) this.#held.delete(key);
    else this.#held.set(key, held);
  }

  #write(stream: OutputStreamName, bytes: Uint8Array): void {
    const screen = stream === 'stdout' ? this.#context.out : this.#context.err;
    screen.write(bytes);
  }
}

/** Each line of `bytes` with its prefix; always ends with a newline. */
function prefixed(label: string, bytes: Buffer): Buffer {
  const prefix = Buffer.from(`[${label}] `);
  const parts: Buffer[] = [];
  let from = 0;
  while (from < bytes.length) {
    const newline = bytes.indexOf(NEWLINE, from);
    const end = newline === -1 ? bytes.length : newline + 1;
    parts.push(prefix, bytes.subarray(from, end));
    if (newline === -1) parts.push(Buffer.from('\n'));
    from = end;
  }
  return Buffer.concat(parts);
}
