import { type IncomingMessage, request as requestPlainly } from 'node:http';
import { request as requestSecurely } from 'node:https';
import { HpcError } from '../backend.js';
import { HPC_LIMITS } from '../remote-job.js';
import { limited } from '../shell/remote-shell.js';

export interface HttpRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
}

export interface HttpAnswer {
  readonly status: number;
  readonly body: Buffer;
}

/**
 * One request to its end, of a limited size and time. Redirects are not followed: they could take a token elsewhere.
 * Whatever breaks on the way, also in the middle of an answer, is `unavailable`.
 */
export async function ask(request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
  const where = new URL(request.url).host;
  try {
    const answer = await send(request, limited(signal));
    return { status: answer.statusCode ?? 0, body: await readBody(answer, where) };
  } catch (error) {
    if (error instanceof HpcError) throw error;
    const { message, code } = error as NodeJS.ErrnoException;
    // Of a name with several addresses, none of which answers, the error has a code alone.
    throw new HpcError('unavailable', `${where}: ${message || code}`, { cause: error });
  }
}

/**
 * Each request has a connection of its own: they are seconds apart, and one that goes out on a kept connection just when
 * the server gives that up fails. Nothing says so to the server, since slurmrestd 22.05 writes an error behind its
 * answer to a request with "Connection: close".
 */
function send({ method, url, headers, body }: HttpRequest, signal: AbortSignal): Promise<IncomingMessage> {
  const open = url.startsWith('https:') ? requestSecurely : requestPlainly;
  const alone = { agent: false, headers: { ...headers, connection: 'keep-alive' } } as const;
  return new Promise((resolve, reject) => {
    open(url, { method, signal, ...alone }, resolve)
      .on('error', reject)
      .end(body);
  });
}

async function readBody(answer: IncomingMessage, where: string): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let byteCount = 0;
  for await (const piece of answer as AsyncIterable<Buffer>) {
    byteCount += piece.length;
    if (byteCount > HPC_LIMITS.maxAnswerBytes) throw new HpcError('configuration', `${where} answered too much`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

/** Undefined for what is no JSON, as an error page of a proxy. */
export function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString()) as unknown;
  } catch {
    return undefined;
  }
}
