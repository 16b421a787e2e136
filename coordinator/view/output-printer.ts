import type { OutputStreamName } from './api.js';
import type { Context } from './context.js';

const NEWLINE = 0x0a;
/** A longer line is printed in pieces of this size, each with its prefix. */
const MAX_HELD_BYTES = 64 * 1024;

export interface PrinterOptions {
  /** Puts `[task] ` before each line, as more than one task is shown. */
  readonly isPrefixed: boolean;
  /** Puts the time at which it came before each line. */
  readonly showsTimes?: boolean;
  readonly streams: readonly OutputStreamName[];
}

/** Whose bytes they are. */
export interface Origin {
  /** The task, as its job's reader names it. */
  readonly label: string;
  readonly stream: OutputStreamName;
  readonly at?: string | undefined;
}

interface Held {
  readonly origin: Required<Origin>;
  line: Buffer;
}

/** Puts the output of tasks on the screen: bytes as they are for one task, whole lines with a prefix for several. */
export class OutputPrinter {
  readonly #context: Context;
  readonly #options: PrinterOptions;
  readonly #held = new Map<string, Held>();

  constructor(context: Context, options: PrinterOptions) {
    this.#context = context;
    this.#options = options;
  }

  /** `at`, an RFC 3339 time, is needed when times are shown. */
  print({ label, stream, at = '' }: Origin, bytes: Buffer): void {
    if (!this.#options.streams.includes(stream) || bytes.length === 0) return;
    if (this.#options.isPrefixed || this.#options.showsTimes) this.#printLines({ label, stream, at }, bytes);
    else this.#write(stream, bytes);
  }

  /** Prints the lines that never got their newline. */
  end(): void {
    for (const { origin, line } of this.#held.values()) this.#write(origin.stream, this.#prefixed(origin, line));
    this.#held.clear();
  }

  /** Holds back the piece of a line after the last newline. */
  #printLines(origin: Required<Origin>, bytes: Buffer): void {
    const { stream, label } = origin;
    const key = `${stream} ${label}`;
    const held = this.#held.get(key);
    let rest = bytes;
    if (held) {
      const end = bytes.indexOf(NEWLINE) + 1 || bytes.length;
      held.line = Buffer.concat([held.line, bytes.subarray(0, end)]);
      rest = bytes.subarray(end);
      if (held.line.at(-1) !== NEWLINE && held.line.length <= MAX_HELD_BYTES) return;
      // A line has the time of its beginning.
      this.#write(stream, this.#prefixed(held.origin, held.line));
      this.#held.delete(key);
    }
    const end = rest.lastIndexOf(NEWLINE) + 1;
    const whole = rest.length - end > MAX_HELD_BYTES ? rest.length : end;
    if (whole > 0) this.#write(stream, this.#prefixed(origin, rest.subarray(0, whole)));
    if (whole < rest.length) this.#held.set(key, { origin, line: rest.subarray(whole) });
  }

  #prefixed({ label, at }: Required<Origin>, bytes: Buffer): Buffer {
    const { isPrefixed, showsTimes } = this.#options;
    return prefixed(`${isPrefixed ? `[${label}] ` : ''}${showsTimes ? `${at} ` : ''}`, bytes);
  }

  #write(stream: OutputStreamName, bytes: Uint8Array): void {
    const screen = stream === 'stdout' ? this.#context.out : this.#context.err;
    screen.write(bytes);
  }
}

/** Each line of `bytes` with its prefix; always ends with a newline. */
function prefixed(text: string, bytes: Buffer): Buffer {
  const prefix = Buffer.from(text);
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
