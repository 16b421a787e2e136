import type { Clock } from '../../../shared/clock.js';
import { ProviderError } from '../provider.js';

export interface HttpOrder {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal: AbortSignal;
  readonly clock: Clock;
  /** How long the answer may take; ANSWER_MS when absent. */
  readonly answerMs?: number;
  /** Answers after which asking again is harmless: the server did nothing. Too many requests (429) always is. */
  readonly harmless?: readonly number[];
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

const ANSWER_MS = 30_000;
/** Far above any list of machines, and still nothing that could fill the memory. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
const MAX_TRIES = 3;
const RETRY_MS = { default: 500, most: 5_000 };
const TOO_MANY = 429;

/**
 * Asks a cloud's interface and reads the whole answer, whatever its status.
 *
 * Throws `unavailable` when there is no answer in time, when it is cut off, too long, or a redirection: nobody knows
 * then whether the order was carried out. A throttled order is repeated a few times, as late as the server asks.
 */
export async function exchange(order: HttpOrder): Promise<HttpAnswer> {
  const harmless = [TOO_MANY, ...(order.harmless ?? [])];
  for (let tries = 1; ; tries += 1) {
    const answer = await askOnce(order);
    if (!harmless.includes(answer.status) || tries === MAX_TRIES) return answer;
    await pause(Math.min(retryAfterMs(answer.headers) ?? RETRY_MS.default, RETRY_MS.most), order);
  }
}

async function askOnce({ method, url, headers, body, signal, answerMs }: HttpOrder): Promise<HttpAnswer> {
  try {
    const response = await fetch(url, {
      method,
      headers: { ...headers },
      ...(body === undefined ? {} : { body }),
      // A redirection could carry credentials to another host.
      redirect: 'error',
      signal: AbortSignal.any([signal, AbortSignal.timeout(answerMs ?? ANSWER_MS)]),
    });
    return { status: response.status, headers: response.headers, text: await textOf(response) };
  } catch (cause) {
    throw new ProviderError('unavailable', `no answer from ${new URL(url).host}: ${reasonOf(cause)}`, cause);
  }
}

async function textOf(response: Response): Promise<string> {
  const pieces: Uint8Array[] = [];
  let byteCount = 0;
  for await (const piece of response.body ?? []) {
    byteCount += (piece as Uint8Array).byteLength;
    if (byteCount > MAX_ANSWER_BYTES) throw new Error(`the answer is longer than ${MAX_ANSWER_BYTES} bytes`);
    pieces.push(piece as Uint8Array);
  }
  return Buffer.concat(pieces).toString('utf8');
}

/** fetch hides what happened in the cause of its error. */
function reasonOf(error: unknown): string {
  const inner = error instanceof Error && error.cause instanceof Error ? error.cause : (error as Error);
  return inner.message || String((inner as NodeJS.ErrnoException).code);
}

/** Whether the host's name is unknown; a resolver that is down says so differently. */
export function isUnknownHost(error: unknown): boolean {
  for (let inner = error; inner instanceof Error; inner = inner.cause) {
    if ((inner as NodeJS.ErrnoException).code === 'ENOTFOUND') return true;
  }
  return false;
}

/** What the server asks for; undefined when it does not ask in seconds. */
export function retryAfterMs(headers: Headers): number | undefined {
  const text = headers.get('retry-after');
  return text !== null && /^\d{1,6}$/.test(text) ? Number(text) * 1_000 : undefined;
}

/** By what a wait is measured, and what ends it early. */
export interface Patience {
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Throws `unavailable` when the order is given up meanwhile. */
async function pause(durationMs: number, { clock, signal }: Patience): Promise<void> {
  await new Promise<void>((resolve) => {
    const cancel = clock.after(durationMs, end);
    function end(): void {
      cancel();
      signal.removeEventListener('abort', end);
      resolve();
    }
    signal.addEventListener('abort', end);
    if (signal.aborted) end();
  });
  if (signal.aborted) throw new ProviderError('unavailable', 'the order was given up', signal.reason);
}

/** How long an order is watched for a refusal that comes late, such as a quota that is checked while it is carried out. */
const WATCH_MS = 45_000;
const LOOK_MS = { first: 100, most: 3_000, factor: 2 };

/**
 * Looks again and again, ever more rarely, until there is something to say.
 *
 * @returns what `look` returned, or undefined when the order is still under way at the end: `list` tells the rest
 */
export async function watch<Value>(
  look: () => Promise<Value | undefined>,
  patience: Patience,
): Promise<Value | undefined> {
  const until = patience.clock.monotonic() + WATCH_MS;
  for (let waitMs = LOOK_MS.first; ; waitMs = Math.min(waitMs * LOOK_MS.factor, LOOK_MS.most)) {
    const found = await look();
    if (found !== undefined || patience.clock.monotonic() + waitMs > until) return found;
    await pause(waitMs, patience);
  }
}

/** The answer's JSON; an answer that is none came from something else than the cloud's interface, so `unavailable`. */
export function jsonOf({ status, text }: HttpAnswer, source: string): unknown {
  try {
    return text === '' ? {} : JSON.parse(text);
  } catch (cause) {
    const start = text.slice(0, 120).replaceAll(/\s+/g, ' ');
    throw new ProviderError('unavailable', `${source} answers HTTP ${status} with what is no JSON: ${start}`, cause);
  }
}

export function isSuccess(status: number): boolean {
  return status >= 200 && status < 300;
}
