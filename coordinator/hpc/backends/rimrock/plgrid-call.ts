import type { HpcError } from '../../backend.js';
import { ask, type HttpRequest } from '../http-client.js';
import type { Credential } from '../means.js';

/** One of PLGrid's services; all of them know an account by its X.509 proxy certificate. */
export interface PlgridService {
  readonly endpoint: string;
  /** The proxy, as PEM. */
  readonly credential: Credential;
  /** What an answer that grants nothing means. */
  failure(status: number, body: Buffer): HpcError;
}

export interface PlgridCall extends Omit<HttpRequest, 'url'> {
  /** Below the service's address. */
  readonly path: string;
}

/** The body of an answer that grants what was asked for. */
export async function callPlgrid(service: PlgridService, call: PlgridCall, signal: AbortSignal): Promise<Buffer> {
  const { path, headers, ...request } = call;
  const proxy = Buffer.from(`${await service.credential.read(signal)}\n`).toString('base64');
  const url = `${service.endpoint}${path}`;
  const { status, body } = await ask({ ...request, url, headers: { ...headers, PROXY: proxy } }, signal);
  if (status >= 200 && status < 300) return body;
  throw service.failure(status, body);
}
