import type { Clock, EpochMs } from '../../../shared/clock.js';
import { isRecord } from '../../../shared/job-spec/findings.js';
import { asHpcError, HpcError } from '../backend.js';
import type { OidcClient } from '../target.js';
import { ask, parseJson } from './http-client.js';
import type { BackendMeans, Credential } from './means.js';
import { type SharedCall, sharedCall } from './shared-call.js';

/** A token is not used in the last part of its life: what is sent with it has to arrive. */
const SPARE_MS = 30_000;
/** Of a life that is shorter than that, half is used. */
const SPARE_PART = 0.5;
/** Of a token whose provider does not say. */
const USUAL_LIFE_MS = 300_000;

/**
 * Access tokens of an OpenID provider, whose token endpoint its discovery document names: for the client itself, or by a
 * refresh token (RFC 6749, 4.4 and 6; OpenID Connect Discovery 1.0).
 *
 * A token is kept until shortly before its end. While none can be had, that is a matter of credentials, whatever the
 * cause: jobs go on meanwhile. A refresh token that the provider replaces is kept in memory alone.
 */
export function oidcCredential(
  client: OidcClient,
  { clock, secret }: Pick<BackendMeans, 'clock' | 'secret'>,
): Credential {
  let kept: SharedCall<Token> | undefined;
  let keptUntil: EpochMs = 0;
  let endpoint: string | undefined;
  let refreshToken: { readonly given: string; readonly now: string } | undefined;

  const fetchToken = async (signal: AbortSignal): Promise<Token> => {
    endpoint ??= await tokenEndpoint(client, signal);
    const given = client.refreshToken === null ? null : (await secret(client.refreshToken)).trim();
    // Whoever renews the secret means that one.
    const refresh = given === null || refreshToken?.given !== given ? given : refreshToken.now;
    const clientSecret = client.clientSecret === null ? null : (await secret(client.clientSecret)).trim();
    const token = await askForToken({ url: endpoint, client, clientSecret, refresh }, clock, signal);
    if (given !== null && token.refreshToken !== undefined) refreshToken = { given, now: token.refreshToken };
    return token;
  };

  return {
    read: async (signal) => {
      if (kept === undefined || clock.now() >= keptUntil) {
        keptUntil = Number.POSITIVE_INFINITY;
        kept = sharedCall(fetchToken);
      }
      const asked = kept;
      try {
        const token = await asked.wait(signal);
        if (kept === asked) keptUntil = token.useUntil;
        return token.text;
      } catch (error) {
        if (kept === asked) kept = undefined;
        if (signal.aborted) throw error;
        const { kind, message } = asHpcError(error, 'asking for a token');
        const what = kind === 'configuration' ? kind : 'credentials';
        throw new HpcError(what, `${client.issuer} gives no token: ${message}`, { cause: error });
      }
    },
    reject: () => {
      kept = undefined;
      return true;
    },
  };
}

interface Token {
  readonly text: string;
  readonly useUntil: EpochMs;
  /** In place of the one that was used. */
  readonly refreshToken: string | undefined;
}

async function tokenEndpoint({ issuer }: OidcClient, signal: AbortSignal): Promise<string> {
  const url = `${issuer}/.well-known/openid-configuration`;
  const { status, body } = await ask({ method: 'GET', url }, signal);
  if (status >= 500) throw new HpcError('unavailable', `it answers ${status}`);
  const document = parseJson(body);
  if (status !== 200 || !isRecord(document)) throw new HpcError('configuration', `${url} answers ${status}`);
  if (typeof document.issuer !== 'string' || document.issuer.replace(/\/+$/, '') !== issuer)
    throw new HpcError('configuration', `it calls itself ${String(document.issuer)}; write that as "issuer"`);
  const { token_endpoint: endpoint } = document;
  if (typeof endpoint === 'string' && isSafe(endpoint, issuer)) return endpoint;
  throw new HpcError('configuration', `its token endpoint is ${String(endpoint)}, which is no safe URL`);
}

/** A secret goes there: never in clear text when the issuer is reached safely. */
function isSafe(endpoint: string, issuer: string): boolean {
  return endpoint.startsWith('https://') || (endpoint.startsWith('http://') && issuer.startsWith('http://'));
}

interface Asking {
  readonly url: string;
  readonly client: OidcClient;
  readonly clientSecret: string | null;
  readonly refresh: string | null;
}

async function askForToken(
  { url, client, clientSecret, refresh }: Asking,
  clock: Clock,
  signal: AbortSignal,
): Promise<Token> {
  const { clientId, scope, audience } = client;
  const form = new URLSearchParams({
    ...(refresh === null
      ? { grant_type: 'client_credentials' }
      : { grant_type: 'refresh_token', refresh_token: refresh }),
    ...(scope === null ? {} : { scope }),
    ...(audience === null ? {} : { audience, resource: audience }),
    // A client without a secret says who it is, and nothing proves it.
    ...(clientSecret === null ? { client_id: clientId } : {}),
  });
  const headers = {
    'content-type': 'application/x-www-form-urlencoded',
    accept: 'application/json',
    ...(clientSecret === null ? {} : { authorization: basic(clientId, clientSecret) }),
  };
  const askedAt = clock.now();
  const { status, body } = await ask({ method: 'POST', url, headers, body: form.toString() }, signal);
  const answer = parseJson(body);
  if (status !== 200 || !isRecord(answer)) throw new HpcError('credentials', complaint(status, answer));
  const { access_token: text, expires_in: seconds, refresh_token: next } = answer;
  if (typeof text !== 'string' || text === '') throw new HpcError('configuration', 'its answer has no access_token');
  const lifeMs = typeof seconds === 'number' ? seconds * 1_000 : USUAL_LIFE_MS;
  const useUntil = askedAt + Math.max(lifeMs - SPARE_MS, lifeMs * SPARE_PART);
  return { text, useUntil, refreshToken: typeof next === 'string' ? next : undefined };
}

/** RFC 6749, 2.3.1: both are encoded as in a form. */
function basic(clientId: string, clientSecret: string): string {
  const [id, secret] = [clientId, clientSecret].map((text) => new URLSearchParams({ x: text }).toString().slice(2));
  return `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`;
}

/** What the provider says of its refusal, which names no token. */
function complaint(status: number, answer: unknown): string {
  const { error, error_description: description } = isRecord(answer) ? answer : {};
  const said = [error, description].filter((text) => typeof text === 'string').join(': ');
  return said.slice(0, 300) || `it answers ${status}`;
}
