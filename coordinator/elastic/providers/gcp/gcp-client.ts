import { createSign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Clock } from '../../../../shared/clock.js';
import { ProviderError, type ProviderWorld } from '../../provider.js';
import { Bearer, type Grant } from '../bearer.js';
import { secretOf } from '../credentials.js';
import type { CloudWords } from '../faults.js';
import { watch } from '../http.js';
import { type Json, JsonCloud, listOf, recordOf, textOf } from '../json-cloud.js';
import { askForToken } from '../oauth.js';
import { allPages } from '../pages.js';
import { gcpRowOf } from './gcp-faults.js';

export interface GcpOptions {
  readonly endpoint: string;
  /** Null: the one that the key names. */
  readonly tokenEndpoint: string | null;
  readonly secretName: string | undefined;
  readonly world: ProviderWorld;
  readonly settings: Json;
}

/** A service account's key, as Google hands it out. */
interface ServiceKey {
  readonly email: string;
  readonly privateKey: string;
  readonly tokenUri: string;
}

const SCOPE = 'https://www.googleapis.com/auth/compute';
const TOKEN_URI = 'https://oauth2.googleapis.com/token';
const GRANT = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const ASSERTION_LIFE_S = 3_600;
const REMEDY = "check the service account's key, and that this machine has the right time";
const VARIABLE = 'GOOGLE_APPLICATION_CREDENTIALS';

/** Compute Engine, as a service account. */
export class GcpClient {
  readonly cloud: JsonCloud;
  readonly #endpoint: string;
  readonly #clock: Clock;

  constructor(options: GcpOptions) {
    this.#endpoint = options.endpoint;
    this.#clock = options.world.clock;
    const token = new Bearer(options.world.clock, (signal) => tokenOf(options, signal));
    this.cloud = new JsonCloud({
      name: 'Google Cloud',
      authorize: async (signal) => ({ authorization: `Bearer ${await token.get(signal)}` }),
      forget: () => token.forget(),
      wordsOf,
      rowOf: gcpRowOf,
      settings: options.settings,
      clock: this.#clock,
    });
  }

  url(path: string, query: Readonly<Record<string, string>> = {}): string {
    const text = new URLSearchParams(query).toString();
    return `${this.#endpoint}/${path}${text === '' ? '' : `?${text}`}`;
  }

  /** All pages of a list. */
  async list(path: string, query: Readonly<Record<string, string>>, signal: AbortSignal): Promise<readonly Json[]> {
    return allPages<Json, string>(async (pageToken) => {
      const url = this.url(path, pageToken === undefined ? query : { ...query, pageToken });
      const { document } = await this.cloud.ask({ method: 'GET', url }, signal);
      return { items: listOf(document, 'items'), next: textOf(document, 'nextPageToken') };
    });
  }

  /** Follows an operation until it has failed, is done, or takes long. Throws what its error means. */
  async follow(operation: Json, zonePath: string, signal: AbortSignal): Promise<void> {
    const url = this.url(`${zonePath}/operations/${encodeURIComponent(textOf(operation, 'name') ?? '')}`);
    let latest = operation;
    const done = await watch(
      async () => {
        if (latest.status === 'DONE') return latest;
        latest = (await this.cloud.ask({ method: 'GET', url }, signal)).document;
        return latest.status === 'DONE' ? latest : undefined;
      },
      { clock: this.#clock, signal },
    );
    const [error] = listOf(done, 'error', 'errors');
    if (error === undefined) return;
    const words = { code: String(error.code), message: String(error.message ?? '') };
    throw this.cloud.refusal(words, Number(done?.httpErrorStatusCode) || 400);
  }
}

/** An assertion signed with the account's key buys a token (RFC 7523). */
async function tokenOf(options: GcpOptions, signal: AbortSignal): Promise<Grant<string>> {
  const key = parseKey(keyText(options), options.secretName ?? VARIABLE);
  const audience = key.tokenUri;
  const issuedAt = Math.floor(options.world.clock.now() / 1_000);
  const claims = { iss: key.email, scope: SCOPE, aud: audience, iat: issuedAt, exp: issuedAt + ASSERTION_LIFE_S };
  const form = { grant_type: GRANT, assertion: signed(claims, key) };
  return askForToken(options.tokenEndpoint ?? audience, form, { remedy: REMEDY, clock: options.world.clock, signal });
}

function signed(claims: Json, { privateKey }: ServiceKey): string {
  const encode = (part: Json): string => Buffer.from(JSON.stringify(part)).toString('base64url');
  const content = `${encode({ alg: 'RS256', typ: 'JWT' })}.${encode(claims)}`;
  try {
    return `${content}.${createSign('RSA-SHA256').update(content).sign(privateKey, 'base64url')}`;
  } catch (cause) {
    throw new ProviderError('credentials', "the service account's private_key cannot be used", cause);
  }
}

function keyText({ secretName, world }: GcpOptions): string {
  if (secretName !== undefined) return secretOf(world, secretName);
  const path = world.environment[VARIABLE];
  if (!path) {
    const remedy = `name a secret in "credentials", or set ${VARIABLE} to the path of a key file`;
    throw new ProviderError('credentials', `there is no service account: ${remedy}`);
  }
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new ProviderError('credentials', `${VARIABLE}: ${(cause as Error).message}`, cause);
  }
}

function parseKey(text: string, place: string): ServiceKey {
  try {
    const { client_email: email, private_key: privateKey, token_uri: tokenUri } = JSON.parse(text) as Json;
    if (typeof email === 'string' && typeof privateKey === 'string') {
      return { email, privateKey, tokenUri: typeof tokenUri === 'string' ? tokenUri : TOKEN_URI };
    }
  } catch {
    // A parser's message quotes what it read, which is secret.
  }
  const remedy = 'it has to be the JSON of a key that "gcloud iam service-accounts keys create" writes';
  throw new ProviderError('credentials', `credentials "${place}": ${remedy}`);
}

function wordsOf(document: Json, status: number): CloudWords {
  const error = recordOf(document, 'error');
  const [first] = listOf(error, 'errors');
  const code = textOf(first, 'reason') ?? textOf(error, 'status') ?? `HTTP ${status}`;
  return { code, message: textOf(error, 'message') ?? '' };
}
