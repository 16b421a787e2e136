import type { FastifyReply } from 'fastify';
import { AppError } from '../../shared/errors.js';
import type { Log } from '../../shared/log.js';

/** Answers that stay open: event streams and logs. */
export const MAX_STREAMS = 500;

/** All answers that stay open, so that they can be counted and ended. */
export class Streams {
  readonly #log: Log;
  readonly #ending = new Set<() => void>();
  #streamCount = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  get streamCount(): number {
    return this.#streamCount;
  }

  /** A signal that aborts when the caller has gone, when `ended` aborts, or at `close`. */
  watch(reply: FastifyReply, ended: AbortSignal): AbortSignal {
    const controller = new AbortController();
    const abort = (): void => controller.abort();
    if (ended.aborted) abort();
    ended.addEventListener('abort', abort);
    this.#ending.add(abort);
    reply.raw.once('close', () => {
      ended.removeEventListener('abort', abort);
      this.#ending.delete(abort);
      abort();
    });
    return controller.signal;
  }

  /** Makes room for one stream; it is given back when the answer closes. Throws `too-many-streams`. */
  begin(reply: FastifyReply, ended: AbortSignal): Stream {
    if (this.#streamCount >= MAX_STREAMS) {
      throw new AppError('too-many-streams', `${MAX_STREAMS} streams are open already`);
    }
    this.#streamCount += 1;
    reply.raw.once('close', () => {
      this.#streamCount -= 1;
    });
    return new Stream(reply, this.watch(reply, ended), this.#log);
  }

  close(): void {
    for (const end of this.#ending) end();
  }
}

type Chunk = string | Uint8Array;

/**
 * One answer that is written as its content comes.
 *
 * A slow reader holds up only itself: the next chunk is fetched after the socket has taken the last one, so at most one
 * chunk and the socket's own buffer are held for it.
 */
export class Stream {
  readonly signal: AbortSignal;
  readonly #reply: FastifyReply;
  readonly #log: Log;

  constructor(reply: FastifyReply, signal: AbortSignal, log: Log) {
    this.#reply = reply;
    this.signal = signal;
    this.#log = log;
  }

  /** Sends the head at once, then the chunks. Ends cleanly only after the last one: a cut answer must not look whole. */
  async send(
    headers: Readonly<Record<string, string>>,
    chunks: AsyncIterable<Chunk>,
    status: 200 | 206 = 200,
  ): Promise<void> {
    const { raw } = this.#reply.hijack();
    raw.writeHead(status, { ...headers, 'cache-control': 'no-store', 'x-accel-buffering': 'no' });
    raw.flushHeaders();
    try {
      for await (const chunk of chunks) {
        if (this.signal.aborted) break;
        if (!raw.write(chunk)) await this.#drained();
      }
    } catch (error) {
      this.#log.error('stream failed', { requestId: this.#reply.request.id, error });
      raw.destroy();
      return;
    }
    if (this.signal.aborted) raw.destroy();
    else raw.end();
  }

  #drained(): Promise<void> {
    const { raw } = this.#reply;
    return new Promise((resolve) => {
      const done = (): void => {
        raw.off('drain', done);
        this.signal.removeEventListener('abort', done);
        resolve();
      };
      if (this.signal.aborted) return resolve();
      raw.once('drain', done);
      this.signal.addEventListener('abort', done);
    });
  }
}
