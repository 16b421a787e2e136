import { ProviderError, type ProviderWorld } from '../../provider.js';
import { Bearer, type Grant } from '../bearer.js';
import { secretOf } from '../credentials.js';
import { type CloudWords, type FaultRow, noSuch } from '../faults.js';
import { exchange, isSuccess, jsonOf } from '../http.js';
import { type Json, JsonCloud, listOf, recordOf, textOf } from '../json-cloud.js';

export interface OpenStackOptions {
  readonly authUrl: string;
  readonly region: string | undefined;
  readonly interfaceName: 'public' | 'internal' | 'admin';
  readonly login: Login;
  readonly secretName: string | undefined;
  readonly world: ProviderWorld;
  readonly settings: Json;
}

export type Login =
  | { readonly kind: 'application'; readonly id: string }
  | {
      readonly kind: 'password';
      readonly user: string;
      readonly userDomain: string;
      readonly project: string;
      readonly projectDomain: string;
    };

/** What Keystone lets us in with, and where the services are. */
interface Session {
  readonly token: string;
  readonly compute: string;
  readonly image: string;
}

const VARIABLES = { application: 'OS_APPLICATION_CREDENTIAL_SECRET', password: 'OS_PASSWORD' } as const;

/** Keystone's session, and the compute and image services that its catalogue names. */
export class OpenStackClient {
  readonly cloud: JsonCloud;
  readonly #session: Bearer<Session>;

  constructor(options: OpenStackOptions) {
    this.#session = new Bearer(options.world.clock, (signal) => logIn(options, signal));
    this.cloud = new JsonCloud({
      name: 'OpenStack',
      authorize: async (signal) => ({ 'x-auth-token': (await this.#session.get(signal)).token }),
      forget: () => this.#session.forget(),
      wordsOf,
      rowOf,
      settings: options.settings,
      clock: options.world.clock,
    });
  }

  async url(service: 'compute' | 'image', path: string, signal: AbortSignal): Promise<string> {
    return `${(await this.#session.get(signal))[service]}${path}`;
  }
}

async function logIn(options: OpenStackOptions, signal: AbortSignal): Promise<Grant<Session>> {
  const {
    authUrl,
    login,
    world: { clock },
  } = options;
  const url = `${authUrl}/auth/tokens`;
  const body = JSON.stringify({ auth: authOf(login, secretFor(options)) });
  const order = { method: 'POST', url, headers: { 'content-type': 'application/json' }, body, clock, signal } as const;
  const answer = await exchange({ ...order, harmless: [503] });
  // Without its version Keystone offers a choice of them.
  if (answer.status === 404 || answer.status === 300) {
    throw new ProviderError('configuration', `authUrl "${authUrl}": Keystone is not there; it mostly ends with /v3`);
  }
  if (answer.status >= 500) throw new ProviderError('unavailable', `Keystone answers HTTP ${answer.status}`);
  const document = jsonOf(answer, 'Keystone');
  const token = answer.headers.get('x-subject-token');
  if (!isSuccess(answer.status) || token === null) {
    const words = textOf(document, 'error', 'message') ?? `HTTP ${answer.status}`;
    throw new ProviderError('credentials', `Keystone says: ${words}; check ${remedyOf(login)}`);
  }
  const catalogue = listOf(document, 'token', 'catalog');
  const compute = endpointOf(catalogue, 'compute', options);
  // Some catalogues have the image service with its version, most without.
  const services = { compute, image: endpointOf(catalogue, 'image', options).replace(/\/v2$/, '') };
  const lifeMs = Date.parse(textOf(document, 'token', 'expires_at') ?? '') - clock.now();
  return { value: { token, ...services }, lifeMs: Number.isFinite(lifeMs) ? lifeMs : 0 };
}

function remedyOf(login: Login): string {
  if (login.kind === 'application') return `applicationCredential "${login.id}" and its secret`;
  const { user, userDomain, project, projectDomain } = login;
  return `user "${user}" of domain "${userDomain}", project "${project}" of domain "${projectDomain}", and the password`;
}

function authOf(login: Login, secret: string): Json {
  if (login.kind === 'application') {
    const application = { id: login.id, secret };
    return { identity: { methods: ['application_credential'], application_credential: application } };
  }
  const { user, userDomain, project, projectDomain } = login;
  const person = { name: user, domain: { name: userDomain }, password: secret };
  return {
    identity: { methods: ['password'], password: { user: person } },
    scope: { project: { name: project, domain: { name: projectDomain } } },
  };
}

function secretFor({ secretName, login, world }: OpenStackOptions): string {
  if (secretName !== undefined) return secretOf(world, secretName).trimEnd();
  const variable = VARIABLES[login.kind];
  const value = world.environment[variable];
  if (value) return value;
  throw new ProviderError('credentials', `there is no password: name a secret in "credentials", or set ${variable}`);
}

/** The service's address in the region. Throws `configuration` that says which regions there are. */
function endpointOf(catalogue: readonly Json[], type: string, { region, interfaceName }: OpenStackOptions): string {
  const endpoints = catalogue
    .filter((service) => service.type === type)
    .flatMap((service) => listOf(service, 'endpoints'))
    .filter((endpoint) => endpoint.interface === interfaceName);
  const regionOf = (endpoint: Json): string => textOf(endpoint, 'region_id') ?? textOf(endpoint, 'region') ?? '';
  const regions = [...new Set(endpoints.map(regionOf))];
  if (region === undefined && regions.length > 1) {
    throw new ProviderError('configuration', `region: is missing; the catalogue has ${regions.join(', ')}`);
  }
  const found = endpoints.find((endpoint) => region === undefined || regionOf(endpoint) === region);
  const url = textOf(found, 'url');
  if (url !== undefined) return url.replace(/\/+$/, '');
  if (region === undefined || regions.length === 0) {
    throw new ProviderError(
      'configuration',
      `interface "${interfaceName}": the catalogue has no ${type} service there`,
    );
  }
  throw noSuch('region', region, { remedy: regions });
}

/** `{"itemNotFound": {"code": 404, "message": "…"}}`: the code is the key. */
function wordsOf(document: Json, status: number): CloudWords {
  for (const [code, value] of Object.entries(document)) {
    const message = textOf(recordOf(value), 'message');
    if (message !== undefined) return { code, message };
  }
  return { code: `HTTP ${status}`, message: '' };
}

const IMAGE_REMEDY = 'openstack image list names them';

/** Nova's codes are as coarse as HTTP's; what it refuses for is in the words, which its reference lists. */
function rowOf({ code, message }: CloudWords, status: number): FaultRow | undefined {
  if (/quota|exceeds? (the )?limit/i.test(message) && (status === 403 || status === 413)) return { fault: 'quota' };
  if (code === 'overLimit' || status === 413) return { fault: 'unavailable' };
  if (/no valid host/i.test(message)) return { fault: 'capacity' };
  if (status === 403) return { fault: 'credentials', remedy: 'give its user the role member in the project' };
  if (status !== 400) return undefined;
  if (/image/i.test(message)) return { fault: 'configuration', setting: 'image', remedy: IMAGE_REMEDY };
  if (/flavor/i.test(message))
    return { fault: 'configuration', setting: 'flavor', remedy: 'openstack flavor list names them' };
  if (/network/i.test(message))
    return { fault: 'configuration', setting: 'network', remedy: 'openstack network list names them' };
  if (/key_name|keypair/i.test(message))
    return { fault: 'configuration', setting: 'keyName', remedy: 'openstack keypair list names them' };
  if (/security.?group/i.test(message)) return { fault: 'configuration', setting: 'securityGroups' };
  return { fault: 'configuration' };
}
