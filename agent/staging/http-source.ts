import { AppError } from '../../shared/errors.js';
import type { Opened, Source } from './transfer.js';

export type HttpHeaders = Readonly<Record<string, string>>;

export interface HttpAnswer {
  readonly status: number;
  /** Its entity tag. */
  readonly tag: string | null;
  readonly content: AsyncIterable<Uint8Array>;
  /** Ends the connection; the content is not wanted. */
  readonly discard: () => void;
}

export interface HttpSourceOptions {
  readonly maxTries: number;
  /** Asks anew, with these headers and its own; signatures have dates in them. Errors: `unreachable`. */
  readonly ask: (headers: HttpHeaders, signal: AbortSignal) => Promise<HttpAnswer>;
  /** What to do when the server says no. */
  readonly remedies: Readonly<Record<number, string>>;
}

const PASSING_STATUSES = new Set([408, 425, 429, 500, 502, 503, 504]);
const PARTIAL = 206;

/**
 * A file behind HTTP. It goes on from an offset only where the server proves, by its strong entity tag, that it is still
 * the same file.
 */
export class HttpSource implements Source {
  readonly maxTries: number;
  readonly #options: HttpSourceOptions;
  #tag: string | null = null;

  constructor(options: HttpSourceOptions) {
    this.#options = options;
    this.maxTries = options.maxTries;
  }

  async open(offset: number, signal: AbortSignal): Promise<Opened> {
    const isRest = offset > 0 && this.#tag !== null;
    const wish = isRest ? { range: `bytes=${offset}-`, 'if-range': this.#tag ?? '' } : {};
    const { status, tag, content } = await this.#ask(wish, signal);
    this.#tag = tag?.startsWith('"') ? tag : null;
    return { startsAt: status === PARTIAL ? offset : 0, content };
  }

  async #ask(headers: HttpHeaders, signal: AbortSignal): Promise<HttpAnswer> {
    const answer = await this.#options.ask(headers, signal);
    const { status } = answer;
    if (status >= 200 && status < 300) return answer;
    answer.discard();
    if (PASSING_STATUSES.has(status)) throw new AppError('unreachable', `the server answers with HTTP ${status}`);
    const remedy = this.#options.remedies[status] ?? 'check the address';
    throw new AppError('task-start-failed', `the server answers with HTTP ${status}; ${remedy}`);
  }
}

/** A GET of anybody's server. Errors: `unreachable`. */
export async function get(url: string, headers: HttpHeaders, signal: AbortSignal): Promise<HttpAnswer> {
  try {
    const response = await fetch(url, { headers: { ...headers }, signal });
    return {
      status: response.status,
      tag: response.headers.get('etag'),
      content: contentOf(response),
      discard: () => void response.body?.cancel(),
    };
  } catch (cause) {
    throw new AppError('unreachable', `no answer from ${new URL(url).host}: ${reasonOf(cause)}`, { cause });
  }
}

async function* contentOf(response: Response): AsyncGenerator<Uint8Array> {
  try {
    for await (const piece of response.body ?? []) yield piece as Uint8Array;
  } catch (cause) {
    throw new AppError('unreachable', `the connection broke: ${reasonOf(cause)}`, { cause });
  }
}

/** fetch hides what happened in the cause of its error. */
function reasonOf(error: unknown): string {
  const inner = error instanceof Error && error.cause instanceof Error ? error.cause : (error as Error);
  return inner.message || String((inner as NodeJS.ErrnoException).code);
}
