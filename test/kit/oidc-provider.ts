import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Test } from 'tap';
import { temporaryFolder } from './temporary-folder.js';

/** A real OpenID provider on loopback, with the client `berth`, whose access tokens are for the user `user`. */
export interface OidcProvider {
  readonly issuer: string;
  /** Its public keys, as Slurm reads them. */
  readonly jwksFile: string;
  readonly clientSecret: string;
  /** How often a token was asked for. */
  readonly askedCount: number;
  /** While it is set, it answers everything with an error of its own. */
  isDown: boolean;
  /** A refresh token of some person's, which is replaced whenever it is used. */
  makeRefreshToken(): Promise<string>;
}

/** What is used of the package, which has no types. */
interface Provider {
  readonly callback: () => RequestListener;
  readonly Client: { find(id: string): Promise<unknown> };
  readonly Grant: new (
    of: object,
  ) => {
    addOIDCScope(scope: string): void;
    addResourceScope(resource: string, scope: string): void;
    save(): Promise<string>;
  };
  readonly RefreshToken: new (of: object) => { save(): Promise<string> };
}

export const OIDC_TOKEN_SECONDS = 60;
const RESOURCE = 'urn:slurm';
const SCOPE = 'openid offline_access';
const KEY_BITS = 2048;

export async function startOidcProvider(t: Test, user: string): Promise<OidcProvider> {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: KEY_BITS });
  const key = { kid: 'one', use: 'sig', alg: 'RS256' };
  const jwksFile = join(temporaryFolder(t), 'jwks.json');
  writeFileSync(jwksFile, JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), ...key }] }), {
    mode: 0o644,
  });
  const state = { isDown: false, askedCount: 0 };
  let answer: RequestListener = () => {};
  const server = createServer((request, response) => {
    if (request.url === '/token') state.askedCount += 1;
    if (state.isDown) response.writeHead(503).end('<h1>Down</h1>');
    else answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const clientSecret = "it's secret+&";
  const named: string = 'oidc-provider';
  const { default: Made } = (await import(named)) as { default: new (issuer: string, settings: object) => Provider };
  const signing = { ...privateKey.export({ format: 'jwk' }), ...key };
  const provider = new Made(issuer, settingsOf({ signing, clientSecret, user }));
  answer = provider.callback();
  return Object.assign(state, { issuer, jwksFile, clientSecret, makeRefreshToken: () => makeRefreshToken(provider) });
}

function settingsOf({ signing, clientSecret, user }: { signing: object; clientSecret: string; user: string }): object {
  const client = {
    client_id: 'berth',
    client_secret: clientSecret,
    grant_types: ['client_credentials', 'refresh_token', 'authorization_code'],
    redirect_uris: ['https://berth.example/back'],
    response_types: ['code'],
  };
  const slurm = {
    scope: 'slurm',
    accessTokenFormat: 'jwt',
    accessTokenTTL: OIDC_TOKEN_SECONDS,
    jwt: { sign: { alg: 'RS256' } },
  };
  return {
    jwks: { keys: [signing] },
    clients: [client],
    scopes: ['openid', 'offline_access', 'slurm'],
    rotateRefreshToken: true,
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => RESOURCE,
        useGrantedResource: () => true,
        getResourceServerInfo: () => slurm,
      },
    },
    extraTokenClaims: () => ({ sun: user }),
    findAccount: (_context: unknown, accountId: string) => ({ accountId, claims: () => ({ sub: accountId }) }),
    // Slurm's library takes no type but this one.
    formats: {
      customizers: {
        jwt: (_context: unknown, _token: unknown, jwt: { header?: object }) => {
          jwt.header = { ...jwt.header, typ: 'JWT' };
        },
      },
    },
  };
}

/** As if a person had agreed in a browser. */
async function makeRefreshToken(provider: Provider): Promise<string> {
  const of = { accountId: 'ann', clientId: 'berth' };
  const grant = new provider.Grant(of);
  grant.addOIDCScope(SCOPE);
  grant.addResourceScope(RESOURCE, 'slurm');
  const grantId = await grant.save();
  const client = await provider.Client.find('berth');
  const parts = {
    client,
    accountId: 'ann',
    grantId,
    scope: `${SCOPE} slurm`,
    resource: RESOURCE,
    gty: 'authorization_code',
  };
  return new provider.RefreshToken(parts).save();
}
