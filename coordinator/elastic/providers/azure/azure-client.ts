import type { Clock } from '../../../../shared/clock.js';
import { isRecord } from '../../../../shared/job-spec/findings.js';
import { ProviderError, type ProviderWorld } from '../../provider.js';
import { Bearer } from '../bearer.js';
import { secretOf, variablesOf } from '../credentials.js';
import type { CloudWords } from '../faults.js';
import { watch } from '../http.js';
import { type Json, JsonCloud, type JsonReply, listOf, recordOf, textOf } from '../json-cloud.js';
import { askForToken } from '../oauth.js';
import { allPages } from '../pages.js';
import { azureRowOf } from './azure-faults.js';

export interface AzureOptions {
  readonly endpoint: string;
  readonly tokenEndpoint: string;
  readonly secretName: string | undefined;
  readonly world: ProviderWorld;
  readonly settings: Json;
}

interface ServicePrincipal {
  readonly tenant: string;
  readonly clientId: string;
  readonly clientSecret: string;
}

const VARIABLES = ['AZURE_TENANT_ID', 'AZURE_CLIENT_ID', 'AZURE_CLIENT_SECRET'] as const;
const REMEDY = 'check tenant, appId and password of the service principal';
const ACCEPTED = 202;

/** Azure Resource Manager, as a service principal. */
export class AzureClient {
  readonly cloud: JsonCloud;
  readonly #endpoint: string;
  readonly #clock: Clock;

  constructor(options: AzureOptions) {
    const { endpoint, tokenEndpoint, settings, world } = options;
    this.#clock = world.clock;
    this.#endpoint = endpoint;
    const token = new Bearer(world.clock, async (signal) => {
      const { tenant, clientId, clientSecret } = principalOf(options);
      const form = { grant_type: 'client_credentials', client_id: clientId, client_secret: clientSecret };
      const url = `${tokenEndpoint}/${encodeURIComponent(tenant)}/oauth2/v2.0/token`;
      return askForToken(
        url,
        { ...form, scope: `${endpoint}/.default` },
        { remedy: REMEDY, clock: world.clock, signal },
      );
    });
    this.cloud = new JsonCloud({
      name: 'Azure',
      authorize: async (signal) => ({ authorization: `Bearer ${await token.get(signal)}` }),
      forget: () => token.forget(),
      wordsOf,
      rowOf: azureRowOf,
      settings,
      clock: world.clock,
    });
  }

  url(path: string, apiVersion: string): string {
    return `${this.#endpoint}${path}?api-version=${apiVersion}`;
  }

  /** All pages of a list. */
  async list(url: string, signal: AbortSignal): Promise<readonly Json[]> {
    return allPages<Json, string>(async (next = url) => {
      const { document } = await this.cloud.ask({ method: 'GET', url: this.#ours(next) }, signal);
      return { items: listOf(document, 'value'), next: textOf(document, 'nextLink') };
    });
  }

  /** Follows an order that was accepted until it has failed, has been carried out, or takes long. */
  async follow({ headers, status }: JsonReply, signal: AbortSignal): Promise<void> {
    const place = headers.get('azure-asyncoperation') ?? headers.get('location');
    if (place === null) return;
    const url = this.#ours(place);
    await watch(
      async () => {
        const reply = await this.cloud.ask({ method: 'GET', url }, signal);
        const state = textOf(reply.document, 'status');
        // A place without a status says by its own what has come of the order.
        if (state === undefined) return reply.status === ACCEPTED ? undefined : 'done';
        if (state === 'Failed' || state === 'Canceled')
          throw this.cloud.refusal(wordsOf(reply.document, status), status);
        return state === 'Succeeded' ? 'done' : undefined;
      },
      { clock: this.#clock, signal },
    );
  }

  /** Azure names the next page and the place to look for an outcome; the token goes there only if it is Azure's. */
  #ours(url: string): string {
    if (URL.canParse(url) && new URL(url).origin === new URL(this.#endpoint).origin) return url;
    throw new ProviderError('unavailable', `Azure points to ${url}, which is not at ${this.#endpoint}`);
  }
}

/** What `az ad sp create-for-rbac` prints, or the variables that Azure's own tools read. */
function principalOf({ secretName, world }: AzureOptions): ServicePrincipal {
  if (secretName === undefined) {
    const given = variablesOf(world, VARIABLES);
    if (given === undefined) {
      const remedy = `name a secret in "credentials", or set ${VARIABLES.join(', ')}`;
      throw new ProviderError('credentials', `there is no service principal: ${remedy}`);
    }
    return { tenant: given.AZURE_TENANT_ID, clientId: given.AZURE_CLIENT_ID, clientSecret: given.AZURE_CLIENT_SECRET };
  }
  const text = secretOf(world, secretName);
  try {
    const { tenant, appId, password } = JSON.parse(text) as Json;
    if (typeof tenant === 'string' && typeof appId === 'string' && typeof password === 'string') {
      return { tenant, clientId: appId, clientSecret: password };
    }
  } catch {
    // A parser's message quotes what it read, which is secret.
  }
  const remedy = 'it has to be the JSON that "az ad sp create-for-rbac" prints: tenant, appId, password';
  throw new ProviderError('credentials', `credentials "${secretName}": ${remedy}`);
}

/** The innermost of the errors that Azure wraps in each other; it is the one that says what is wrong. */
function wordsOf(document: Json, status: number): CloudWords {
  let error = recordOf(document, 'error');
  for (let depth = 0; depth < 5; depth += 1) {
    const [inner] = listOf(error, 'details').filter((each) => typeof each.code === 'string');
    const isWrapper = /^(DeploymentFailed|ResourceDeploymentFailure|BadRequest|ResourceOperationFailure)$/.test(
      `${error.code}`,
    );
    if (inner === undefined || !isWrapper) break;
    error = inner;
  }
  if (!isRecord(error) || typeof error.code !== 'string') return { code: `HTTP ${status}`, message: '' };
  return { code: error.code, message: String(error.message ?? '') };
}
