import { type CloudReply, type CloudRequest, CloudStandIn, json, Slow } from './cloud-stand-in.js';

export const OPENSTACK = {
  user: 'berth',
  password: 'pass word',
  project: 'hospital',
  region: 'RegionOne',
  image: 'debian-12',
  flavor: 'm1.large',
  network: '44444444-4444-4444-4444-444444444444',
  applicationCredential: '55555555555555555555555555555555',
} as const;
const IMAGE_ID = '66666666-6666-6666-6666-666666666666';

type Document = Readonly<Record<string, unknown>>;

interface ServerRecord {
  readonly id: string;
  readonly document: Document;
  /** Its status, and after a slash what is being done to it. */
  readonly state: Slow;
  fault: string | undefined;
}

/** Keystone, Glance and Nova, with servers in memory. */
export class OpenStackStandIn extends CloudStandIn {
  readonly servers: ServerRecord[] = [];
  /** No host has room for the next server that is made or unshelved. */
  isFull = false;
  pageSize = 1_000;
  #count = 0;
  #tokenCount = 0;

  override operationOf({ method, path, body }: CloudRequest): string {
    const action = path.endsWith('/action') ? Object.keys(JSON.parse(body) as Document)[0] : undefined;
    const [, service, , kind = ''] = path.split('/');
    return action ?? `${method} ${service === 'compute' ? kind : path.split('/').slice(1, 4).join('/')}`;
  }

  override answer(request: CloudRequest): CloudReply {
    if (request.path === '/identity/v3/auth/tokens') return this.#login(request);
    if (!request.path.startsWith('/image/') && !request.path.startsWith('/compute/')) return { status: 404 };
    if (!/^token-\d+$/.test(request.headers['x-auth-token'] ?? ''))
      return { status: 401, body: 'Authentication required' };
    if (request.path.startsWith('/image/')) return image(request);
    return this.#compute(request);
  }

  #login({ body }: CloudRequest): CloudReply {
    const { auth } = JSON.parse(body) as { readonly auth: Document };
    const byPassword = {
      identity: {
        methods: ['password'],
        password: { user: { name: OPENSTACK.user, domain: { name: 'Default' }, password: OPENSTACK.password } },
      },
      scope: { project: { name: OPENSTACK.project, domain: { name: 'Default' } } },
    };
    const application = { id: OPENSTACK.applicationCredential, secret: OPENSTACK.password };
    const byApplication = { identity: { methods: ['application_credential'], application_credential: application } };
    if (![byPassword, byApplication].some((wanted) => JSON.stringify(wanted) === JSON.stringify(auth))) {
      return json(401, {
        error: { code: 401, title: 'Unauthorized', message: 'The request you have made requires authentication.' },
      });
    }
    this.#tokenCount += 1;
    const catalog = ['compute', 'image'].map((type) => ({ type, endpoints: this.#endpoints(type) }));
    const expires = new Date(Date.now() + 3_600_000).toISOString();
    return json(201, { token: { expires_at: expires, catalog } }, { 'x-subject-token': `token-${this.#tokenCount}` });
  }

  #endpoints(type: string): readonly Document[] {
    const url = `${this.url}/${type}${type === 'compute' ? '/v2.1' : ''}`;
    const regions = [OPENSTACK.region, 'RegionTwo'];
    return regions.map((region) => ({
      interface: 'public',
      region,
      region_id: region,
      url: region === OPENSTACK.region ? url : 'http://127.0.0.1:9',
    }));
  }

  #compute(request: CloudRequest): CloudReply {
    const [kind, id, action] = request.path.slice('/compute/v2.1/'.length).split('/');
    if (kind === 'flavors') return json(200, { flavors: [{ id: '4', name: OPENSTACK.flavor }] });
    if (id === 'detail') return this.#list(request);
    if (id === undefined) return this.#make(request);
    const server = this.servers.find((each) => each.id === id);
    if (server === undefined) return novaRefusal(404, 'itemNotFound', `Instance ${id} could not be found.`);
    if (action === 'action') return this.#act(server, Object.keys(JSON.parse(request.body) as Document)[0] ?? '');
    if (request.method === 'DELETE') return remove(server);
    return json(200, { server: this.#present(server) });
  }

  #make({ body }: CloudRequest): CloudReply {
    const { server: document } = JSON.parse(body) as { readonly server: Document };
    if (document.imageRef !== IMAGE_ID)
      return novaRefusal(400, 'badRequest', `Can not find requested image ${document.imageRef}`);
    if (document.flavorRef !== '4')
      return novaRefusal(400, 'badRequest', `Flavor ${document.flavorRef} could not be found.`);
    this.#count += 1;
    const id = `server-${this.#count}`;
    const state = new Slow('BUILD/scheduling', this.isFull ? 'ERROR/' : 'ACTIVE/');
    const fault = this.isFull ? 'No valid host was found. There are not enough hosts available.' : undefined;
    this.isFull = false;
    this.servers.push({ id, document, state, fault });
    return json(202, { server: { id, links: [] } });
  }

  #act({ id, state }: ServerRecord, verb: string): CloudReply {
    const moves: Readonly<Record<string, readonly [string, string, string]>> = {
      shelve: ['ACTIVE/', 'ACTIVE/shelving', 'SHELVED_OFFLOADED/'],
      suspend: ['ACTIVE/', 'ACTIVE/suspending', 'SUSPENDED/'],
      unshelve: ['SHELVED_OFFLOADED/', 'SHELVED_OFFLOADED/unshelving', this.isFull ? 'SHELVED_OFFLOADED/' : 'ACTIVE/'],
      resume: ['SUSPENDED/', 'SUSPENDED/resuming', 'ACTIVE/'],
      'os-start': ['SHUTOFF/', 'SHUTOFF/powering-on', 'ACTIVE/'],
    };
    const [from, now, next] = moves[verb] ?? ['', '', ''];
    if (state.now !== from) {
      return novaRefusal(409, 'conflictingRequest', `Cannot '${verb}' instance ${id} while it is in ${state.now}`);
    }
    if (verb === 'unshelve') this.isFull = false;
    state.move(now, next);
    return { status: 202 };
  }

  #list({ query }: CloudRequest): CloudReply {
    const name = new RegExp(query.get('name') ?? '');
    const all = this.servers.filter(({ document }) => name.test(String(document.name)));
    const from = all.findIndex(({ id }) => id === query.get('marker')) + 1;
    const to = from + Math.min(this.pageSize, Number(query.get('limit')));
    const links = to < all.length ? { servers_links: [{ rel: 'next', href: 'next' }] } : {};
    return json(200, { servers: all.slice(from, to).map((each) => this.#present(each)), ...links });
  }

  #present({ id, document, state, fault }: ServerRecord): Document {
    const [status, task] = state.look().split('/');
    if (state.now === 'gone') this.remove(id);
    const failure = fault === undefined || status !== 'ERROR' ? {} : { fault: { code: 500, message: fault } };
    return { ...document, id, status, 'OS-EXT-STS:task_state': task === '' ? null : task, ...failure };
  }

  remove(id: string): void {
    const at = this.servers.findIndex((each) => each.id === id);
    if (at >= 0) this.servers.splice(at, 1);
  }
}

function remove({ state }: ServerRecord): CloudReply {
  state.move('ACTIVE/deleting', 'gone');
  return { status: 204 };
}

function image({ path, query }: CloudRequest): CloudReply {
  if (path === `/image/v2/images/${IMAGE_ID}`) return json(200, { id: IMAGE_ID });
  if (path !== '/image/v2/images') return { status: 404, body: '<html>404 Not Found</html>' };
  return json(200, { images: query.get('name') === OPENSTACK.image ? [{ id: IMAGE_ID, name: OPENSTACK.image }] : [] });
}

/** An error as Nova answers it. */
export function novaRefusal(status: number, code: string, message: string): CloudReply {
  return json(status, { [code]: { code: status, message } });
}
