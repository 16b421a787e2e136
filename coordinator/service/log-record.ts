import { isUtf8 } from 'node:buffer';
import { type AllocationRef, taskIdOf } from '../../shared/ids.js';
import type { LogStream } from '../../shared/wire/messages.js';
import { missingBytes } from './log-fate.js';
import type { Service } from './service.js';
import { LOG_CHUNK_BYTES, type TaskLogsReader } from './task-logs-reader.js';

/** A piece of one attempt's output: as text when it is UTF-8, else in base64; or a gap, marked with its size (P9). */
export interface LogRecord {
  readonly task: string;
  readonly attempt: number;
  readonly stream: LogStream;
  readonly offset: number;
  readonly text?: string;
  readonly base64?: string;
  /** Bytes from `offset` on that were written and are not here. */
  readonly missingBytes?: number;
}

export const STREAMS = ['stdout', 'stderr'] as const;

/** How far one attempt's output has been passed on. */
export class Tail {
  readonly ref: AllocationRef;
  readonly #offsets = { stdout: 0, stderr: 0 };

  constructor(ref: AllocationRef) {
    this.ref = ref;
  }

  /** Passes on what has arrived since the last time. */
  async *drain(logs: TaskLogsReader, signal: AbortSignal): AsyncGenerator<LogRecord> {
    for (const stream of STREAMS) {
      while (!signal.aborted) {
        const offset = this.#offsets[stream];
        const bytes = await logs.read(this.ref, stream, offset, LOG_CHUNK_BYTES);
        if (bytes.length === 0) break;
        const whole = bytes.subarray(0, wholeCharacters(bytes));
        this.#offsets[stream] = offset + whole.length;
        yield { task: taskIdOf(this.ref), attempt: this.ref.attempt, stream, offset, ...encoded(whole) };
      }
    }
  }
}

/** A record for each stream that has less than its ended attempt wrote. */
export async function* gapsOf(service: Service, ref: AllocationRef): AsyncGenerator<LogRecord> {
  for (const stream of STREAMS) {
    const missing = await missingBytes(service, { ref, stream });
    if (missing === 0) continue;
    const offset = await service.logs.size(ref, stream);
    yield { task: taskIdOf(ref), attempt: ref.attempt, stream, offset, missingBytes: missing };
  }
}

function encoded(bytes: Uint8Array): Pick<LogRecord, 'text' | 'base64'> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return isUtf8(buffer) ? { text: buffer.toString('utf8') } : { base64: buffer.toString('base64') };
}

const MAX_CHARACTER_BYTES = 4;

/** How many bytes to take so that no character is cut in two; all of them when there is nothing but such a piece. */
export function wholeCharacters(bytes: Uint8Array): number {
  const from = Math.max(0, bytes.length - MAX_CHARACTER_BYTES + 1);
  for (let at = bytes.length - 1; at >= from; at -= 1) {
    const byte = bytes[at] ?? 0;
    if ((byte & 0xc0) === 0x80) continue;
    const length = lengthOf(byte);
    return at + length > bytes.length && at > 0 ? at : bytes.length;
  }
  return bytes.length;
}

/** Bytes of the character that begins with this one; 1 for what begins none. */
function lengthOf(byte: number): number {
  if (byte >= 0xf8) return 1;
  if (byte >= 0xf0) return 4;
  if (byte >= 0xe0) return 3;
  return byte >= 0xc0 ? 2 : 1;
}
