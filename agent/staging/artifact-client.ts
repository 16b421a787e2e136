import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { type IncomingMessage, type RequestOptions, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Artifact } from '../../shared/artifact.js';
import { AppError } from '../../shared/errors.js';
import { type HttpAnswer, type HttpHeaders, HttpSource } from './http-source.js';
import type { Source } from './transfer.js';

export interface ArtifactClientOptions {
  /** Of the coordinator. */
  readonly url: string;
  /** The token by which the agent joins. */
  readonly token: string;
  /** Certificates to trust; undefined for the system's own. */
  readonly ca?: string | undefined;
}

/** An hour and more, while the coordinator is away. */
const MAX_TRIES = 150;
const REMEDIES = { 404: 'the coordinator does not have it any more; put it again' };
/** A connection on which nothing moves for so long is given up. */
const SILENCE_MS = 120_000;
const CHUNK_BYTES = 256 * 1024;

/** The coordinator's artifacts, as an agent may have them. On node's own client, since fetch takes no certificates. */
export class ArtifactClient {
  readonly #options: ArtifactClientOptions;

  constructor(options: ArtifactClientOptions) {
    this.#options = options;
  }

  source(sha256: string): Source {
    return new HttpSource({
      maxTries: MAX_TRIES,
      ask: async (headers, signal) => answerOf(await this.#ask(sha256, { method: 'GET', headers, signal })),
      remedies: REMEDIES,
    });
  }

  /** Keeps an opened file; what the coordinator has already is not sent. Errors: retryable ones pass by themselves. */
  async put(file: FileHandle, signal: AbortSignal): Promise<Artifact> {
    const artifact = await digestOf(file, signal);
    const there = await this.#ask(artifact.sha256, { method: 'HEAD', headers: {}, signal });
    there.resume();
    if (isOk(there)) return artifact;
    const headers = { 'content-type': 'application/octet-stream', 'content-length': String(artifact.sizeBytes) };
    const answer = await this.#ask(artifact.sha256, { method: 'PUT', headers, signal, content: piecesOf(file) });
    const text = await textOf(answer);
    if (isOk(answer)) return artifact;
    const status = answer.statusCode ?? 0;
    const isFinal = status >= 400 && status < 500 && status !== 429;
    throw new AppError(isFinal ? 'task-start-failed' : 'unreachable', detailOf(text) ?? `HTTP ${status}`);
  }

  /** Resolves with the head of the answer. Errors: `unreachable`. */
  #ask(sha256: string, { method, headers, signal, content }: Asked): Promise<IncomingMessage> {
    const { url, token, ca } = this.#options;
    const address = new URL(`${url}/v1/artifacts/${sha256}`);
    const options: RequestOptions & { ca?: string } = {
      ...{ method, signal, agent: false, headers: { ...headers, authorization: `Bearer ${token}` } },
      ...(ca === undefined ? {} : { ca }),
    };
    return new Promise((resolve, reject) => {
      const sent = address.protocol === 'https:' ? requestHttps(address, options) : requestHttp(address, options);
      sent.setTimeout(SILENCE_MS, () => sent.destroy(new Error('it is silent')));
      sent.once('response', resolve);
      sent.once('error', (cause) => {
        reject(new AppError('unreachable', `the coordinator cannot be reached: ${cause.message}`, { cause }));
      });
      // An answer may come before everything is sent; what breaks then is told by the answer.
      pipeline(content === undefined ? Readable.from([]) : Readable.from(content), sent).catch(() => {});
    });
  }
}

interface Asked {
  readonly method: 'GET' | 'HEAD' | 'PUT';
  readonly headers: HttpHeaders;
  readonly signal: AbortSignal;
  readonly content?: AsyncIterable<Uint8Array>;
}

function isOk({ statusCode = 0 }: IncomingMessage): boolean {
  return statusCode >= 200 && statusCode < 300;
}

function answerOf(message: IncomingMessage): HttpAnswer {
  const { statusCode: status = 0, headers } = message;
  return { status, tag: headers.etag ?? null, content: contentOf(message), discard: () => void message.destroy() };
}

async function* contentOf(message: IncomingMessage): AsyncGenerator<Uint8Array> {
  try {
    for await (const piece of message) yield piece as Uint8Array;
  } catch (cause) {
    throw new AppError('unreachable', `the connection broke: ${(cause as Error).message}`, { cause });
  }
}

async function textOf(message: IncomingMessage): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of contentOf(message)) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

function detailOf(text: string): string | undefined {
  try {
    return (JSON.parse(text) as { detail?: string }).detail;
  } catch {
    return undefined;
  }
}

async function digestOf(file: FileHandle, signal: AbortSignal): Promise<Artifact> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const piece of piecesOf(file)) {
    signal.throwIfAborted();
    hash.update(piece);
    sizeBytes += piece.length;
  }
  return { sha256: hash.digest('hex'), sizeBytes };
}

/** From the beginning, as often as it is asked for. */
async function* piecesOf(file: FileHandle): AsyncGenerator<Uint8Array> {
  for (let position = 0; ; ) {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(CHUNK_BYTES), 0, CHUNK_BYTES, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}
