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

/** One request to its end, of a limited size and time. Redirects are not followed: they could take a token elsewhere. */
export async function ask({ method, url, headers, body }: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
  const where = new URL(url).host;
  try {
    const answer = await fetch(url, {
      method,
      redirect: 'manual',
      signal: limited(signal),
      ...(headers === undefined ? {} : { headers: { ...headers } }),
      ...(body === undefined ? {} : { body }),
    });
    return { status: answer.status, body: await readBody(answer, where) };
  } catch (error) {
    if (error instanceof HpcError) throw error;
    const { cause, message } = error as Error;
    const why = cause instanceof Error ? cause.message || message : message;
    throw new HpcError('unavailable', `${where}: ${why}`, { cause: error });
  }
}

async function readBody(answer: Response, where: string): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  let byteCount = 0;
  for await (const piece of answer.body ?? []) {
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
