import { createVerify, generateKeyPairSync } from 'node:crypto';
import { type CloudReply, type CloudRequest, CloudStandIn, json, Slow } from './cloud-stand-in.js';

export const GCP = {
  project: 'hospital',
  zone: 'europe-west1-b',
  machineType: 'n2-standard-4',
  image: 'projects/ubuntu-os-cloud/global/images/family/ubuntu-2404-lts-amd64',
} as const;
const EMAIL = 'berth@hospital.iam.gserviceaccount.com';
const ZONE = `/projects/${GCP.project}/zones/${GCP.zone}`;
const KEYS = generateKeyPairSync('rsa', { modulusLength: 2_048 });

type Document = Readonly<Record<string, unknown>>;

interface Instance {
  readonly name: string;
  readonly document: Document;
  readonly status: Slow;
}

interface Operation {
  readonly name: string;
  readonly status: Slow;
  readonly error: { readonly code: string; readonly message: string } | undefined;
}

/** Google's token endpoint and Compute Engine, with machines in memory. */
export class GcpStandIn extends CloudStandIn {
  readonly instances = new Map<string, Instance>();
  /** What the next operation ends with, having done nothing. */
  lateFailure: { readonly code: string; readonly message: string } | undefined;
  pageSize = 500;
  readonly #operations = new Map<string, Operation>();
  readonly #requestIds = new Map<string, Operation>();
  #tokenCount = 0;

  /** The service account's key as Google hands it out. */
  get key(): string {
    const privateKey = KEYS.privateKey.export({ type: 'pkcs8', format: 'pem' });
    return JSON.stringify({
      type: 'service_account',
      client_email: EMAIL,
      private_key: privateKey,
      token_uri: `${this.url}/token`,
    });
  }

  override operationOf({ method, path }: CloudRequest): string {
    if (path === '/token') return 'token';
    const [, kind = '', , verb] = path.slice(ZONE.length).split('/');
    return path.startsWith(`${ZONE}/`) ? `${method} ${verb ?? kind}` : `${method} ${path.split('/').at(-2)}`;
  }

  override answer(request: CloudRequest): CloudReply {
    const { path, headers } = request;
    if (path === '/token') return this.#token(request);
    if (!/^Bearer token-\d+$/.test(headers.authorization ?? ''))
      return gcpRefusal(401, 'authError', 'Invalid Credentials');
    if (path === `/projects/${GCP.project}/zones`)
      return json(200, { items: [{ name: GCP.zone }, { name: 'europe-west1-c' }] });
    if ([ZONE, `${ZONE}/machineTypes/${GCP.machineType}`, `/${GCP.image}`].includes(path))
      return json(200, { name: path });
    if (path.startsWith(`${ZONE}/operations/`)) return this.#look(path.split('/').at(-1) ?? '');
    if (path.startsWith(`${ZONE}/instances`)) return this.#instances(request);
    return notFound(path);
  }

  #token({ body }: CloudRequest): CloudReply {
    const assertion = new URLSearchParams(body).get('assertion') ?? '';
    const [header = '', claims = '', signature = ''] = assertion.split('.');
    const isSigned = createVerify('RSA-SHA256')
      .update(`${header}.${claims}`)
      .verify(KEYS.publicKey, signature, 'base64url');
    const said = JSON.parse(Buffer.from(claims, 'base64url').toString() || '{}') as Document;
    const isGood = said.iss === EMAIL && said.aud === `${this.url}/token` && Number(said.exp) * 1_000 > Date.now();
    if (!isSigned || !isGood) return json(400, { error: 'invalid_grant', error_description: 'Invalid JWT Signature.' });
    this.#tokenCount += 1;
    return json(200, { access_token: `token-${this.#tokenCount}`, expires_in: 3_599, token_type: 'Bearer' });
  }

  #instances(request: CloudRequest): CloudReply {
    const { method, path } = request;
    const [name = '', verb = ''] = path.slice(`${ZONE}/instances/`.length).split('/');
    if (name === '') return method === 'GET' ? this.#list(request) : this.#insert(request);
    const instance = this.instances.get(name);
    if (instance === undefined) return notFound(`${ZONE}/instances/${name}`.slice(1));
    if (method === 'GET') return json(200, this.#present(instance));
    if (method === 'DELETE') return this.#move(instance, ['STOPPING', 'gone']);
    return this.#verb(instance, verb);
  }

  #verb(instance: Instance, verb: string): CloudReply {
    const moves: Readonly<Record<string, readonly [string, string, string]>> = {
      suspend: ['RUNNING', 'SUSPENDING', 'SUSPENDED'],
      resume: ['SUSPENDED', 'PROVISIONING', 'RUNNING'],
      start: ['TERMINATED', 'PROVISIONING', 'RUNNING'],
    };
    const [from, now, next] = moves[verb] ?? ['', '', ''];
    if (instance.status.now !== from) {
      return gcpRefusal(400, 'resourceNotReady', `The instance ${instance.name} is ${instance.status.now}.`);
    }
    return this.#move(instance, [now, next]);
  }

  #insert({ body, query }: CloudRequest): CloudReply {
    const known = this.#requestIds.get(query.get('requestId') ?? '');
    if (known !== undefined) return json(200, presentOperation(known));
    const document = JSON.parse(body) as Document;
    const name = String(document.name);
    if (!/^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name))
      return gcpRefusal(400, 'invalid', `Invalid value for field name: ${name}`);
    if (Object.values(document.labels as Document).some((label) => !/^[a-z0-9_-]{0,63}$/.test(String(label)))) {
      return gcpRefusal(400, 'invalid', 'Invalid label value.');
    }
    if (document.machineType !== `zones/${GCP.zone}/machineTypes/${GCP.machineType}`)
      return notFound(String(document.machineType));
    if (this.instances.has(name)) return gcpRefusal(409, 'alreadyExists', `The resource ${name} already exists`);
    if (this.lateFailure === undefined) {
      this.instances.set(name, { name, document, status: new Slow('PROVISIONING', 'RUNNING') });
    }
    const operation = this.#begin();
    this.#requestIds.set(query.get('requestId') ?? '', operation);
    return json(200, presentOperation(operation));
  }

  #move({ status }: Instance, [now, next]: readonly [string, string]): CloudReply {
    if (this.lateFailure === undefined) status.move(now, next);
    return json(200, presentOperation(this.#begin()));
  }

  #begin(): Operation {
    const name = `operation-${this.#operations.size + 1}`;
    const operation = { name, status: new Slow('RUNNING', 'DONE'), error: this.lateFailure };
    this.lateFailure = undefined;
    this.#operations.set(name, operation);
    return operation;
  }

  #look(name: string): CloudReply {
    const operation = this.#operations.get(name);
    return operation === undefined ? notFound(name) : json(200, presentOperation(operation));
  }

  #list({ query }: CloudRequest): CloudReply {
    const [, label, value] = /^labels\.([\w-]+)=([\w-]+)$/.exec(query.get('filter') ?? '') ?? [];
    const all = [...this.instances.values()].filter(
      ({ document }) => (document.labels as Document)[label ?? ''] === value,
    );
    const from = Number(query.get('pageToken') ?? 0);
    const to = from + Math.min(this.pageSize, Number(query.get('maxResults')));
    const items = all.slice(from, to).map((instance) => this.#present(instance));
    return json(200, {
      ...(items.length > 0 ? { items } : {}),
      ...(to < all.length ? { nextPageToken: String(to) } : {}),
    });
  }

  #present({ name, document, status }: Instance): Document {
    const seen = status.look();
    if (status.now === 'gone') this.instances.delete(name);
    return { ...document, status: seen };
  }
}

function presentOperation({ name, status, error }: Operation): Document {
  const seen = status.look();
  const failure = { error: { errors: [error] }, httpErrorStatusCode: 403 };
  return { kind: 'compute#operation', name, status: seen, ...(seen === 'DONE' && error !== undefined ? failure : {}) };
}

/** An error as Compute Engine answers it. */
export function gcpRefusal(code: number, reason: string, message: string): CloudReply {
  return json(code, { error: { code, message, errors: [{ message, domain: 'global', reason }] } });
}

function notFound(path: string): CloudReply {
  return gcpRefusal(404, 'notFound', `The resource '${path}' was not found`);
}
