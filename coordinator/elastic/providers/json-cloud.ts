import type { Clock } from '../../../shared/clock.js';
import { isRecord } from '../../../shared/job-spec/findings.js';
import { ProviderError } from '../provider.js';
import { type CloudWords, type FaultRow, faultOf, faultOfStatus } from './faults.js';
import { exchange, type HttpAnswer, type HttpOrder, isSuccess, jsonOf } from './http.js';

/** A document of JSON, read with nothing taken for granted. */
export type Json = Readonly<Record<string, unknown>>;

export interface JsonReply {
  readonly status: number;
  readonly headers: Headers;
  readonly document: Json;
}

export interface JsonCloudOptions {
  /** For messages: "Azure". */
  readonly name: string;
  /** Headers that let the order in. */
  readonly authorize: (signal: AbortSignal) => Promise<Readonly<Record<string, string>>>;
  /** What the authorization was made from is no longer good. */
  readonly forget: () => void;
  readonly wordsOf: (document: Json, status: number) => CloudWords;
  /** Undefined: as the status says. */
  readonly rowOf: (words: CloudWords, status: number) => FaultRow | undefined;
  readonly settings: Json;
  readonly clock: Clock;
}

export interface JsonOrder {
  readonly method: HttpOrder['method'];
  readonly url: string;
  /** To be sent as JSON, or, where it is a text, as that. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** As of `HttpOrder`. */
  readonly answerMs?: number;
}

const UNAUTHORIZED = 401;
const UNAVAILABLE = 503;

/** A cloud whose interface takes and gives JSON, with a token that it wants in a header. */
export class JsonCloud {
  readonly #options: JsonCloudOptions;

  constructor(options: JsonCloudOptions) {
    this.#options = options;
  }

  /** Throws what the cloud's error code means. */
  async ask(order: JsonOrder, signal: AbortSignal): Promise<JsonReply> {
    let answer = await this.#send(order, signal);
    if (answer.status === UNAUTHORIZED) {
      // A token may be withdrawn before its time.
      this.#options.forget();
      answer = await this.#send(order, signal);
    }
    const { name } = this.#options;
    const parsed = isSuccess(answer.status) || isJson(answer) ? jsonOf(answer, name) : {};
    const document = isRecord(parsed) ? parsed : {};
    if (isSuccess(answer.status)) return { status: answer.status, headers: answer.headers, document };
    throw this.refusal(this.#options.wordsOf(document, answer.status), answer.status);
  }

  /** As `ask`; undefined when there is no such thing. */
  async find(url: string, signal: AbortSignal): Promise<Json | undefined> {
    try {
      return (await this.ask({ method: 'GET', url }, signal)).document;
    } catch (error) {
      if (isAbsence(error)) return undefined;
      throw error;
    }
  }

  /** Resolves also when there is no such thing any more. */
  async remove(url: string, signal: AbortSignal, more: Pick<JsonOrder, 'answerMs'> = {}): Promise<void> {
    await this.ask({ method: 'DELETE', url, ...more }, signal).catch((error: unknown) => {
      if (!isAbsence(error)) throw error;
    });
  }

  refusal(words: CloudWords, status: number): CloudError {
    const row = this.#options.rowOf(words, status) ?? faultOfStatus(status);
    return new CloudError(faultOf(row, words, this.#options.settings), words.code, status);
  }

  async #send({ body, headers, ...order }: JsonOrder, signal: AbortSignal): Promise<HttpAnswer> {
    const authorization = await this.#options.authorize(signal);
    return exchange({
      ...order,
      headers: { accept: 'application/json', ...typeOf(body), ...authorization, ...headers },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      clock: this.#options.clock,
      harmless: order.method === 'GET' ? [UNAVAILABLE] : [],
      signal,
    });
  }
}

/** A refusal with the code and status that it came with. */
export class CloudError extends ProviderError {
  readonly code: string;
  readonly status: number;

  constructor(error: ProviderError, code: string, status: number) {
    super(error.fault, error.message);
    this.code = code;
    this.status = status;
  }
}

export function isAbsence(error: unknown): boolean {
  return error instanceof CloudError && error.status === 404;
}

function typeOf(body: unknown): Readonly<Record<string, string>> {
  if (body === undefined) return {};
  return { 'content-type': typeof body === 'string' ? 'text/plain' : 'application/json' };
}

function isJson({ headers, text }: HttpAnswer): boolean {
  return /json/.test(headers.get('content-type') ?? '') && text !== '';
}

export function recordOf(document: unknown, ...path: readonly string[]): Json {
  const value = at(document, path);
  return isRecord(value) ? value : {};
}

export function listOf(document: unknown, ...path: readonly string[]): readonly Json[] {
  const value = at(document, path);
  return Array.isArray(value) ? value.filter(isRecord) : [];
}

export function textOf(document: unknown, ...path: readonly string[]): string | undefined {
  const value = at(document, path);
  return typeof value === 'string' ? value : undefined;
}

function at(document: unknown, path: readonly string[]): unknown {
  let value = document;
  for (const name of path) value = isRecord(value) ? value[name] : undefined;
  return value;
}

/** The texts in a map of anything. */
export function textsIn(document: Json): Readonly<Record<string, string>> {
  const entries = Object.entries(document).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
  return Object.fromEntries(entries);
}
