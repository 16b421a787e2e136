import { type CloudReply, type CloudRequest, CloudStandIn, json, Slow } from './cloud-stand-in.js';

export const AZURE = {
  tenant: '11111111-1111-1111-1111-111111111111',
  appId: '22222222-2222-2222-2222-222222222222',
  password: 'an~app~password',
  subscription: '33333333-3333-3333-3333-333333333333',
  group: 'berth',
  location: 'westeurope',
  size: 'Standard_D4s_v5',
  image: 'debian:debian-12:12-gen2:latest',
} as const;
export const AZURE_SUBNET = `/subscriptions/${AZURE.subscription}/resourceGroups/berth/providers/Microsoft.Network/virtualNetworks/net/subnets/nodes`;

type Document = Readonly<Record<string, unknown>>;

interface Machine {
  readonly name: string;
  readonly document: Document;
  readonly power: Slow;
}

const COMPUTE = `/subscriptions/${AZURE.subscription}/providers/Microsoft.Compute`;
const MACHINES = `/subscriptions/${AZURE.subscription}/resourceGroups/${AZURE.group}/providers/Microsoft.Compute/virtualMachines`;

/** Azure Resource Manager and its token endpoint, with machines, disks and interfaces in memory. */
export class AzureStandIn extends CloudStandIn {
  readonly machines = new Map<string, Machine>();
  /** Disks and interfaces: those that are made with a machine, and go with it where that was asked for. */
  readonly things = new Map<string, { readonly owner: string; readonly goesAlong: boolean }>();
  /** What the next order that is accepted comes to, instead of being carried out. */
  lateFailure: { readonly code: string; readonly message: string } | undefined;
  pageSize = 100;
  readonly #tokens = new Set<string>();
  readonly #outcomes = new Map<string, { readonly looks: Slow; readonly error?: Document }>();

  override operationOf({ method, path }: CloudRequest): string {
    if (path.endsWith('/token')) return 'token';
    if (path.startsWith('/operations/')) return `${method} operation`;
    const [name = '', action] = path.slice(MACHINES.length + 1).split('/');
    if (path.startsWith(MACHINES)) return `${method} ${action ?? (name === '' ? 'machines' : 'machine')}`;
    return `${method} ${path.split('/').at(-2)}`;
  }

  /** The tokens that were given out are refused from now on. */
  withdrawTokens(): void {
    this.#tokens.clear();
  }

  override answer(request: CloudRequest): CloudReply {
    if (request.path.endsWith('/oauth2/v2.0/token')) return this.#token(request);
    const bearer = request.headers.authorization?.replace('Bearer ', '') ?? '';
    if (!this.#tokens.has(bearer))
      return azureRefusal(401, 'InvalidAuthenticationToken', 'The access token is invalid.');
    if (!request.query.has('api-version'))
      return azureRefusal(400, 'MissingApiVersionParameter', 'The api-version is missing.');
    if (request.path.startsWith('/operations/')) return this.#outcome(request.path);
    if (!request.path.startsWith(`/subscriptions/${AZURE.subscription}`)) {
      return azureRefusal(404, 'SubscriptionNotFound', 'The subscription could not be found.');
    }
    return request.path.startsWith(MACHINES) ? this.#machines(request) : this.#other(request);
  }

  #token({ path, body }: CloudRequest): CloudReply {
    const form = new URLSearchParams(body);
    const isRight = form.get('client_secret') === AZURE.password && form.get('client_id') === AZURE.appId;
    if (!isRight || !path.startsWith(`/${AZURE.tenant}/`) || form.get('scope') !== `${this.url}/.default`) {
      const description = 'AADSTS7000215: Invalid client secret provided.';
      return json(401, { error: 'invalid_client', error_description: description });
    }
    const token = `token-${this.#tokens.size}`;
    this.#tokens.add(token);
    return json(200, { token_type: 'Bearer', expires_in: 3599, access_token: token });
  }

  #other({ path }: CloudRequest): CloudReply {
    const places: Readonly<Record<string, Document>> = {
      [`/subscriptions/${AZURE.subscription}/resourceGroups/${AZURE.group}`]: { name: AZURE.group },
      [`/subscriptions/${AZURE.subscription}/locations`]: { value: [{ name: 'westeurope' }, { name: 'northeurope' }] },
      [AZURE_SUBNET]: { name: 'nodes' },
      [`${COMPUTE}/locations/westeurope/publishers/debian/artifacttypes/vmimage/offers/debian-12/skus/12-gen2/versions`]:
        {},
      [`${COMPUTE}/skus`]: { value: [{ resourceType: 'virtualMachines', name: AZURE.size }] },
    };
    const found = places[path];
    if (found !== undefined) return json(200, found);
    if (/\/resourceGroups\/[^/]+$/.test(path)) return groupNotFound();
    return azureRefusal(404, 'ResourceNotFound', `The resource ${path} was not found.`);
  }

  #machines(request: CloudRequest): CloudReply {
    const [name = '', action = ''] = request.path.slice(MACHINES.length + 1).split('/');
    if (name === '') return this.#list(request);
    const machine = this.machines.get(name);
    if (request.method === 'PUT') return this.#put(request, name, machine);
    if (request.method === 'DELETE') return machine === undefined ? { status: 204 } : this.#delete(machine);
    if (machine === undefined) return azureRefusal(404, 'ResourceNotFound', `The machine ${name} was not found.`);
    if (action === 'deallocate') return this.#move(machine, 'deallocating', 'deallocated');
    if (action === 'start') return this.#move(machine, 'starting', 'running');
    return json(200, action === 'instanceView' ? this.#view(machine) : present(machine));
  }

  #list({ query }: CloudRequest): CloudReply {
    const all = [...this.machines.values()].map(present);
    for (const { name, power } of [...this.machines.values()]) {
      if (power.now === 'deleting' && power.look() === 'deleting') this.remove(name);
    }
    const from = Number(query.get('$skiptoken') ?? 0);
    const next = `${this.url}${MACHINES}?api-version=2024-07-01&$skiptoken=${from + this.pageSize}`;
    const page = all.slice(from, from + this.pageSize);
    return json(200, { value: page, ...(from + this.pageSize < all.length ? { nextLink: next } : {}) });
  }

  #put(request: CloudRequest, name: string, known: Machine | undefined): CloudReply {
    const document = JSON.parse(request.body) as Document;
    if (known !== undefined && request.headers['if-none-match'] === '*') {
      return azureRefusal(412, 'PreconditionFailed', 'The resource exists already.');
    }
    if (known !== undefined)
      return azureRefusal(409, 'PropertyChangeNotAllowed', 'osProfile.customData cannot be changed.');
    const size = at(document, 'properties', 'hardwareProfile', 'vmSize');
    if (size !== AZURE.size)
      return azureRefusal(400, 'InvalidParameter', `The value ${size} of parameter vmSize is invalid.`);
    const power = this.lateFailure === undefined ? new Slow('starting', 'running') : new Slow('failed', 'failed');
    const machine = { name, document: { ...document, name }, power };
    this.machines.set(name, machine);
    this.#keepThings(name, document);
    return this.#accepted(201, present(machine));
  }

  #keepThings(owner: string, document: Document): void {
    const disk = at(document, 'properties', 'storageProfile', 'osDisk') as Document;
    const profile = at(document, 'properties', 'networkProfile') as Document;
    if (profile.networkApiVersion === undefined)
      throw new Error('an interface made with a machine needs networkApiVersion');
    const [card] = profile.networkInterfaceConfigurations as readonly Document[];
    this.things.set(`disk ${disk.name}`, { owner, goesAlong: disk.deleteOption === 'Delete' });
    this.things.set(`interface ${card?.name}`, {
      owner,
      goesAlong: at(card ?? {}, 'properties', 'deleteOption') === 'Delete',
    });
  }

  #delete(machine: Machine): CloudReply {
    machine.power.move('deleting');
    return this.#accepted(202);
  }

  #view({ power }: Machine): Document {
    const state = power.look();
    if (state === 'failed') return { statuses: [{ code: 'ProvisioningState/failed/AllocationFailed' }] };
    if (state === 'deleting') return { statuses: [{ code: 'ProvisioningState/deleting' }] };
    return { statuses: [{ code: 'ProvisioningState/succeeded' }, { code: `PowerState/${state}` }] };
  }

  remove(name: string): void {
    this.machines.delete(name);
    for (const [thing, { owner, goesAlong }] of this.things) if (owner === name && goesAlong) this.things.delete(thing);
  }

  #move({ name, power }: Machine, now: string, next: string): CloudReply {
    if (power.now === 'deleting') return azureRefusal(409, 'Conflict', `The machine ${name} is being deleted.`);
    if (now === 'starting' && power.now === 'deallocating') {
      return azureRefusal(409, 'OperationNotAllowed', `The machine ${name} is being deallocated.`);
    }
    if (this.lateFailure === undefined) power.move(now, next);
    return this.#accepted(202);
  }

  #accepted(status: number, document?: Document): CloudReply {
    const place = `/operations/${this.#outcomes.size}`;
    this.#outcomes.set(place, {
      looks: new Slow('InProgress', this.lateFailure === undefined ? 'Succeeded' : 'Failed'),
      ...(this.lateFailure === undefined ? {} : { error: this.lateFailure }),
    });
    this.lateFailure = undefined;
    return json(status, document ?? {}, { 'azure-asyncoperation': `${this.url}${place}?api-version=2024-07-01` });
  }

  #outcome(path: string): CloudReply {
    const outcome = this.#outcomes.get(path);
    if (outcome === undefined) return azureRefusal(404, 'NotFound', 'There is no such operation.');
    const status = outcome.looks.look();
    return json(200, { status, ...(status === 'Failed' ? { error: outcome.error } : {}) });
  }
}

function present({ document, power, name }: Machine): Document {
  const states: Readonly<Record<string, string>> = { failed: 'Failed', deleting: 'Deleting', starting: 'Creating' };
  const properties = { ...(document.properties as Document), provisioningState: states[power.now] ?? 'Succeeded' };
  return { ...document, id: `${MACHINES}/${name}`, properties };
}

/** An error as Azure Resource Manager answers it. */
export function azureRefusal(status: number, code: string, message: string): CloudReply {
  return json(status, { error: { code, message } });
}

function groupNotFound(): CloudReply {
  return azureRefusal(404, 'ResourceGroupNotFound', 'The resource group could not be found.');
}

function at(document: Document, ...path: readonly string[]): unknown {
  let value: unknown = document;
  for (const name of path) value = (value as Document | undefined)?.[name];
  return value;
}
