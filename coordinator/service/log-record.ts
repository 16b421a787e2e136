import { isUtf8 } from 'node:buffer';
import { type AllocationRef, taskIdOf } from '../../shared/ids.js';
import type { LogStream } from '../../shared/wire/messages.js';
import { missingBytes } from './log-fate.js';
import { beginningOf, type LogView } from './log-view.js';
import { instant } from './schemas.js';
import type { Service } from './service.js';
import { type Piece, StreamCursor } from './stream-cursor.js';
import type { TaskLogsReader } from './task-logs-reader.js';

/** A piece of one attempt's output: as text when it is UTF-8, else in base64; or a gap, marked with its size (P9). */
export interface LogRecord {
  readonly task: string;
  readonly attempt: number;
  readonly stream: LogStream;
  readonly offset: number;
  /** When its first bytes came, by the coordinator's clock, to about 100 ms. */
  readonly at?: string;
  readonly text?: string;
  readonly base64?: string;
  /** Bytes from `offset` on that were written and are not here. */
  readonly missingBytes?: number;
}

export const STREAMS = ['stdout', 'stderr'] as const;

/** How far one attempt's output has been passed on: both streams, in the order in which their bytes came. */
export class Tail {
  readonly ref: AllocationRef;
  readonly #view: LogView;
  /** Made at the first look, which is when the ends of what is there are known. */
  #cursors: readonly StreamCursor[] | undefined;

  constructor(ref: AllocationRef, view: LogView) {
    this.ref = ref;
    this.#view = view;
  }

  /** Passes on what has arrived since the last time. */
  async *drain(logs: TaskLogsReader, signal: AbortSignal): AsyncGenerator<LogRecord> {
    if (this.#cursors === undefined) yield* this.#begin(logs);
    while (!signal.aborted) {
      const next = await this.#earliest(logs);
      if (next === undefined) return;
      next.cursor.take();
      const { stream, offset, bytes, at } = next.piece;
      yield { ...this.#place(stream, offset), at: instant(at), ...encoded(bytes) };
    }
  }

  /** Says where each stream is begun when it is not at its beginning, so that what was left out is no gap. */
  async *#begin(logs: TaskLogsReader): AsyncGenerator<LogRecord> {
    const cursors: StreamCursor[] = [];
    for (const stream of this.#view.streams) {
      const offset = await beginningOf(logs, { ref: this.ref, stream }, this.#view);
      cursors.push(new StreamCursor(this.ref, stream, offset));
      if (offset > 0) yield { ...this.#place(stream, offset), text: '' };
    }
    this.#cursors = cursors;
  }

  async #earliest(logs: TaskLogsReader): Promise<{ cursor: StreamCursor; piece: Piece } | undefined> {
    let earliest: { cursor: StreamCursor; piece: Piece } | undefined;
    for (const cursor of this.#cursors ?? []) {
      const piece = await cursor.peek(logs);
      if (piece && (earliest === undefined || piece.at < earliest.piece.at)) earliest = { cursor, piece };
    }
    return earliest;
  }

  #place(stream: LogStream, offset: number): Pick<LogRecord, 'task' | 'attempt' | 'stream' | 'offset'> {
    return { task: taskIdOf(this.ref), attempt: this.ref.attempt, stream, offset };
  }
}

/** A record for each stream that has less than its ended attempt wrote. */
export async function* gapsOf(
  service: Service,
  ref: AllocationRef,
  { streams }: Pick<LogView, 'streams'>,
): AsyncGenerator<LogRecord> {
  for (const stream of streams) {
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
