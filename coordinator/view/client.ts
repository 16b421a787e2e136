import { type ClientRequest, type IncomingMessage, type RequestOptions, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { Readable } from 'node:stream';
import type { Clock } from '../../shared/clock.js';
import { AppError, CODES, type ErrorCode, isAppError, type Problem } from '../../shared/errors.js';
import { isUntrusted } from '../../shared/transport.js';
import type { Endpoint } from './config.js';

/** Names with their values; a list repeats its name, undefined leaves it out. */
export type Query = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

export interface ApiRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
  /** Below `/v1`, segments already encoded; or absolute when it begins with `/healthz`. */
  readonly path: string;
  readonly query?: Query;
  readonly body?: unknown;
  /** Bytes instead of a document. */
  readonly content?: Readable;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** How long the answer's head may take once everything is sent; ANSWER_MS by default. */
  readonly answerWithinMs?: number;
}

const ANSWER_MS = 30_000;
/** A silent peer is noticed by the kernel after about this long plus its probes. */
const KEEP_ALIVE_MS = 15_000;
const MAX_DOCUMENT_BYTES = 256 * 1024 * 1024;

interface ClientOptions {
  readonly locate: () => Promise<Endpoint>;
  readonly clock: Clock;
}

/**
 * The coordinator's HTTP interface: requests in, documents or `AppError` out. It never retries by itself.
 *
 * One connection per request, on node:http rather than fetch: a stream may be silent for as long as its task is, and
 * fetch's own time limits would end it; and it starts faster.
 */
export class ApiClient {
  readonly #locate: () => Promise<Endpoint>;
  readonly #clock: Clock;

  constructor(options: ClientOptions) {
    this.#locate = options.locate;
    this.#clock = options.clock;
  }

  /** The coordinator that the next request goes to. Throws when none is configured. */
  locate(): Promise<Endpoint> {
    return this.#locate();
  }

  get<Document>(path: string, more: Omit<ApiRequest, 'method' | 'path' | 'body'> = {}): Promise<Document> {
    return this.document({ method: 'GET', path, ...more });
  }

  post<Document>(path: string, body: unknown = {}): Promise<Document> {
    return this.document({ method: 'POST', path, body });
  }

  async document<Document>(request: ApiRequest): Promise<Document> {
    const text = await textOf(await this.open(request));
    if (text === '') return null as Document;
    try {
      return JSON.parse(text) as Document;
    } catch (error) {
      throw new AppError('internal', `the answer of ${request.path} is not JSON; is that address a coordinator?`, {
        cause: error,
      });
    }
  }

  /** Sends the request and resolves with the answer once its head has come and says success; the body is the caller's. */
  async open(request: ApiRequest): Promise<IncomingMessage> {
    const endpoint = await this.#locate();
    const response = await this.#exchange(endpoint, request);
    const status = response.statusCode ?? 0;
    if (status >= 200 && status < 300) return response;
    throw faultOf({ status, text: await textOf(response), endpoint });
  }

  #exchange(endpoint: Endpoint, request: ApiRequest): Promise<IncomingMessage> {
    const url = urlOf(endpoint, request);
    const payload = request.body === undefined ? undefined : JSON.stringify(request.body);
    const options: RequestOptions = {
      method: request.method,
      agent: false,
      headers: headersOf(endpoint, request, payload),
      ...(request.signal === undefined ? {} : { signal: request.signal }),
    };
    return new Promise((resolve, reject) => {
      const sent =
        url.protocol === 'https:'
          ? requestHttps(url, { ...options, ...(endpoint.ca === undefined ? {} : { ca: endpoint.ca }) })
          : requestHttp(url, options);
      let cancelTimer = (): void => {};
      const awaitAnswer = (): void => {
        cancelTimer = this.#clock.after(request.answerWithinMs ?? ANSWER_MS, () => {
          sent.destroy(Object.assign(new Error('no answer in time'), { code: 'ETIMEDOUT' }));
        });
      };
      sent.on('socket', (socket) => socket.setKeepAlive(true, KEEP_ALIVE_MS));
      sent.on('response', (response) => {
        cancelTimer();
        resolve(response);
      });
      sent.on('error', (error) => {
        cancelTimer();
        reject(request.signal?.aborted ? error : lost(endpoint, error));
      });
      if (request.content) sendContent(request.content, sent, awaitAnswer);
      else {
        awaitAnswer();
        sent.end(payload);
      }
    });
  }
}

/** An answer may come before everything is sent, and ends the sending: it says why. */
function sendContent(content: Readable, sent: ClientRequest, awaitAnswer: () => void): void {
  sent.once('finish', awaitAnswer);
  content.once('error', (error) => sent.destroy(error));
  sent.once('close', () => content.destroy());
  content.pipe(sent);
}

/** Encodes one segment of a path. */
export function segment(text: string): string {
  return encodeURIComponent(text);
}

/** The body's pieces as they come. Throws `unreachable` when the connection breaks before the body's end. */
export async function* piecesOf(response: IncomingMessage): AsyncGenerator<Buffer> {
  try {
    for await (const piece of response) yield piece as Buffer;
  } catch (error) {
    throw new AppError('unreachable', 'the connection to the coordinator broke', { cause: error });
  }
}

/** True when the request may never have left: nothing listens there. */
export function isConnectionRefused(error: unknown): boolean {
  return (
    isAppError(error, 'unreachable') && (error.cause as NodeJS.ErrnoException | undefined)?.code === 'ECONNREFUSED'
  );
}

async function textOf(response: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of piecesOf(response)) {
    size += piece.length;
    if (size > MAX_DOCUMENT_BYTES) throw new AppError('payload-too-large', 'the answer is too large to hold');
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}

function urlOf(endpoint: Endpoint, request: ApiRequest): URL {
  const url = new URL(`${endpoint.url}${request.path.startsWith('/healthz') ? '' : '/v1'}${request.path}`);
  for (const [name, value] of Object.entries(request.query ?? {})) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== undefined) url.searchParams.append(name, String(each));
    }
  }
  return url;
}

function headersOf(endpoint: Endpoint, request: ApiRequest, payload: string | undefined): Record<string, string> {
  return {
    authorization: `Bearer ${endpoint.token}`,
    accept: 'application/json, application/problem+json, */*',
    ...(request.content === undefined ? {} : { 'content-type': 'application/octet-stream' }),
    ...(payload === undefined
      ? {}
      : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(payload)) }),
    ...request.headers,
  };
}

function lost(endpoint: Endpoint, error: Error): AppError {
  const code = (error as NodeJS.ErrnoException).code;
  const why = code === 'ECONNREFUSED' ? 'nothing listens there' : error.message || code || 'connection failed';
  return new AppError('unreachable', `cannot reach the coordinator at ${endpoint.url}: ${why}`, {
    cause: error,
    hint: isUntrusted(error)
      ? 'name the certificate of its issuer with BERTH_CA_FILE, and a host that is in its certificate with BERTH_URL'
      : `the address is from ${endpoint.urlSource}; is the coordinator running?`,
  });
}

interface Failure {
  readonly status: number;
  readonly text: string;
  readonly endpoint: Endpoint;
}

/** A failed answer as the fault that it reports: a problem document of RFC 9457, or whatever stands in between. */
function faultOf({ status, text, endpoint }: Failure): AppError {
  const problem = problemOf(text);
  const code = isErrorCode(problem.code) ? problem.code : codeOfStatus(status);
  const hint =
    code === 'unauthenticated' ? `the token is from ${endpoint.tokenSource}; is it this coordinator's?` : problem.hint;
  return new AppError(code, problem.detail ?? problem.title ?? `the coordinator answered with status ${status}`, {
    ...(typeof hint === 'string' ? { hint } : {}),
    ...(Array.isArray(problem.problems) ? { problems: problem.problems as Problem[] } : {}),
  });
}

interface ProblemDocument {
  readonly code?: unknown;
  readonly title?: string;
  readonly detail?: string;
  readonly hint?: string;
  readonly problems?: unknown;
}

function problemOf(text: string): ProblemDocument {
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === 'object' && parsed !== null ? parsed : {};
  } catch {
    // Not ours: a proxy's page. The status has to do.
    return {};
  }
}

function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(CODES, code);
}

function codeOfStatus(status: number): ErrorCode {
  switch (status) {
    case 401:
      return 'unauthenticated';
    case 403:
      return 'forbidden';
    case 404:
    case 410:
      return 'not-found';
    case 409:
      return 'conflict';
    case 413:
      return 'payload-too-large';
    case 429:
      return 'rate-limited';
    case 502:
    case 503:
    case 504:
      return 'unreachable';
    default:
      return status >= 500 ? 'internal' : 'invalid-request';
  }
}
