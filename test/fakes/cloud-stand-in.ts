import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface CloudRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface CloudReply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** What goes wrong with an order, once. */
export type Mishap =
  /** It is refused so, and nothing is done. */
  | { readonly kind: 'refused'; readonly reply: CloudReply }
  /** Nothing is done, and nobody answers. */
  | { readonly kind: 'hangs' }
  /** It is done, and the connection breaks before the answer. */
  | { readonly kind: 'unanswered' };

/** A cloud that lives in memory, on a port of loopback: what it was asked, and what goes wrong. */
export abstract class CloudStandIn {
  /** What was ordered, as the cloud's reference calls it. */
  readonly operations: string[] = [];
  readonly requests: CloudRequest[] = [];
  readonly #server: Server;
  readonly #mishaps = new Map<string, Mishap[]>();

  constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  abstract operationOf(request: CloudRequest): string;
  abstract answer(request: CloudRequest): CloudReply;

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The next order of this kind goes wrong; several add up. */
  mishap(operation: string, ...mishaps: readonly Mishap[]): void {
    this.#mishaps.set(operation, [...(this.#mishaps.get(operation) ?? []), ...mishaps]);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const request = await read(incoming);
    const operation = this.operationOf(request);
    this.operations.push(operation);
    this.requests.push(request);
    const mishap = this.#mishaps.get(operation)?.shift();
    if (mishap?.kind === 'hangs') return;
    const reply = mishap?.kind === 'refused' ? mishap.reply : this.answer(request);
    if (mishap?.kind === 'unanswered') incoming.socket.destroy();
    else response.writeHead(reply.status, { ...reply.headers }).end(reply.body ?? '');
  }
}

async function read(incoming: IncomingMessage): Promise<CloudRequest> {
  const pieces: Buffer[] = [];
  for await (const piece of incoming) pieces.push(piece as Buffer);
  const url = new URL(incoming.url ?? '/', 'http://cloud');
  const headers = Object.entries(incoming.headers).map(([name, value]) => [name, String(value)] as const);
  return {
    method: incoming.method ?? '',
    path: url.pathname,
    query: url.searchParams,
    headers: Object.fromEntries(headers),
    body: Buffer.concat(pieces).toString(),
  };
}

export function json(status: number, document: unknown, headers: Readonly<Record<string, string>> = {}): CloudReply {
  return { status, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(document) };
}

/** Something whose state takes until after the next look to become what it was ordered to be. */
export class Slow {
  #now: string;
  #next: string | undefined;

  constructor(now: string, next: string) {
    this.#now = now;
    this.#next = next;
  }

  /** What it is, and where it is going; looking does not change it. */
  get now(): string {
    return this.#now;
  }

  move(now: string, next?: string): void {
    this.#now = now;
    this.#next = next;
  }

  /** What it is at this look. */
  look(): string {
    const seen = this.#now;
    if (this.#next !== undefined) this.move(this.#next);
    return seen;
  }
}
