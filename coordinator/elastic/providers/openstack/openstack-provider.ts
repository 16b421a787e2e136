import type { Clock } from '../../../../shared/clock.js';
import {
  type CreateOrder,
  type Machine,
  ProviderError,
  type ProviderFactory,
  type ProviderTraits,
} from '../../provider.js';
import { guarded } from '../cloud-provider.js';
import { OneAtATime } from '../concurrency.js';
import { watch } from '../http.js';
import { CloudError, type Json, listOf, recordOf, textOf, textsIn } from '../json-cloud.js';
import { readProviderSettings } from '../provider-settings.js';
import { machineNameOf, machineOf, machinePrefixOf } from '../tags.js';
import { OpenStackClient } from './openstack-client.js';
import { loginOf, OPENSTACK_SETTINGS, type OpenStackSettings, serverDocument } from './openstack-server.js';
import { stateOf, taskOf, wakingVerbOf } from './server-states.js';

const MAX_PAGES = 100;
const PAGE_SIZE = 500;

/** OpenStack's compute service. Suspending is shelving, or, where it is set so, keeping the memory on the host. */
export const openstackProvider: ProviderFactory = (given, world) => {
  const settings = readProviderSettings('openstack', OPENSTACK_SETTINGS, given);
  const { authUrl, region, interface: interfaceName = 'public', credentials } = settings;
  const login = loginOf(settings);
  const options = { authUrl, region, interfaceName, login, secretName: credentials, world, settings: given };
  const openstack = { client: new OpenStackClient(options), settings, clock: world.clock };
  // Nova has no idempotency token: the look for a machine that is there and its making must not overlap.
  const making = new OneAtATime<{ readonly ref: string }>();
  return guarded({
    traits: TRAITS[settings.suspendBy ?? 'shelve'],
    check: (signal) => check(openstack, signal),
    create: (order, signal) => making.run(machineNameOf(order), () => create(openstack, order, signal)),
    list: (cluster, signal) => list(openstack, cluster, signal),
    suspend: (ref, signal) => suspend(openstack, ref, signal),
    resume: (ref, signal) => resume(openstack, ref, signal),
    terminate: (ref, signal) => terminate(openstack, ref, signal),
  });
};

interface OpenStack {
  readonly client: OpenStackClient;
  readonly settings: OpenStackSettings;
  readonly clock: Clock;
}

const TRAITS: Readonly<Record<'shelve' | 'suspend', ProviderTraits>> = {
  shelve: {
    canSuspend: true,
    suspendedBilling: "the snapshot or volume and the addresses; the host's processors and memory are free for others",
    suspendedCountsInQuota: true,
    suspendKeepsMemory: false,
  },
  suspend: {
    canSuspend: true,
    suspendedBilling:
      "everything: the host keeps disk and memory image, and mostly its place; see the cloud's price list",
    suspendedCountsInQuota: true,
    suspendKeepsMemory: true,
  },
};

async function check(openstack: OpenStack, signal: AbortSignal): Promise<void> {
  await Promise.all([imageId(openstack, signal), flavorId(openstack, signal)]);
  // Lets in those only who may use the compute service.
  await list(openstack, 'check', signal);
}

async function imageId({ client, settings }: OpenStack, signal: AbortSignal): Promise<string> {
  const { image } = settings;
  const url = await client.url('image', `/v2/images/${encodeURIComponent(image)}`, signal);
  const byId = await client.cloud.find(url, signal);
  if (byId !== undefined) return image;
  const list = await client.url('image', `/v2/images?${new URLSearchParams({ name: image })}`, signal);
  const { document } = await client.cloud.ask({ method: 'GET', url: list }, signal);
  const [found, second] = listOf(document, 'images').map((each) => textOf(each, 'id'));
  if (second !== undefined)
    throw new ProviderError('configuration', `image "${image}": several have this name; give the id of one`);
  if (found !== undefined) return found;
  throw new ProviderError('configuration', `image "${image}": there is no such image; openstack image list names them`);
}

async function flavorId({ client, settings }: OpenStack, signal: AbortSignal): Promise<string> {
  const { flavor } = settings;
  const url = await client.url('compute', '/flavors', signal);
  const flavors = listOf((await client.cloud.ask({ method: 'GET', url }, signal)).document, 'flavors');
  const found = flavors.find(({ id, name }) => id === flavor || name === flavor);
  if (found !== undefined) return textOf(found, 'id') ?? flavor;
  const names = flavors.map((each) => textOf(each, 'name')).join(', ');
  throw new ProviderError('configuration', `flavor "${flavor}": there is no such flavor; the cloud has ${names}`);
}

async function create(
  openstack: OpenStack,
  order: CreateOrder,
  signal: AbortSignal,
): Promise<{ readonly ref: string }> {
  const { client } = openstack;
  const known = await machinesOf(openstack, order, signal);
  if (known[0] !== undefined) return { ref: known[0].ref };
  const [image, flavor] = await Promise.all([imageId(openstack, signal), flavorId(openstack, signal)]);
  const url = await client.url('compute', '/servers', signal);
  const body = { server: serverDocument(openstack.settings, order, { image, flavor }) };
  const { document } = await client.cloud.ask({ method: 'POST', url, body }, signal).catch((error: unknown) => {
    throw error instanceof CloudError && error.fault === 'not-found'
      ? new ProviderError('configuration', error.message, error)
      : error;
  });
  const ref = textOf(document, 'server', 'id') ?? '';
  await untilPlaced(openstack, ref, signal);
  return { ref: await keepOldest(openstack, order, { ref, signal }) };
}

function machinesOf(
  openstack: OpenStack,
  { cluster, instanceId }: CreateOrder,
  signal: AbortSignal,
): Promise<Machine[]> {
  const isMeant = (each: Machine): boolean => each.instanceId === instanceId && each.state !== 'terminating';
  return list(openstack, cluster, signal).then((all) => all.filter(isMeant));
}

/** Nova takes every order, and finds out afterwards whether a host has room. One that failed is removed. */
async function untilPlaced(openstack: OpenStack, ref: string, signal: AbortSignal): Promise<void> {
  const server = await watch(
    async () => {
      const found = await findServer(openstack, ref, signal);
      return found === undefined || found.status !== 'BUILD' || isPlaced(found) ? (found ?? {}) : undefined;
    },
    { clock: openstack.clock, signal },
  );
  if (server?.status !== 'ERROR') return;
  await terminate(openstack, ref, signal);
  const words = { code: 'ERROR', message: textOf(server, 'fault', 'message') ?? 'the server failed' };
  throw openstack.client.cloud.refusal(words, 500);
}

function isPlaced(server: Json): boolean {
  const task = taskOf(server);
  return task !== undefined && task !== 'scheduling';
}

/** An order whose answer was lost may have been carried out late, after we had looked: then there are two. */
async function keepOldest(
  openstack: OpenStack,
  order: CreateOrder,
  { ref, signal }: { readonly ref: string; readonly signal: AbortSignal },
): Promise<string> {
  const [oldest, ...younger] = await machinesOf(openstack, order, signal);
  for (const each of younger) await terminate(openstack, each.ref, signal);
  return oldest?.ref ?? ref;
}

/** The oldest first. */
async function list({ client }: OpenStack, cluster: string, signal: AbortSignal): Promise<Machine[]> {
  const wish = {
    name: `^${machinePrefixOf(cluster)}`,
    sort_key: 'created_at',
    sort_dir: 'asc',
    limit: String(PAGE_SIZE),
  };
  const machines: Machine[] = [];
  let marker: string | undefined;
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const query = new URLSearchParams(marker === undefined ? wish : { ...wish, marker });
    const url = await client.url('compute', `/servers/detail?${query}`, signal);
    const { document } = await client.cloud.ask({ method: 'GET', url }, signal);
    const servers = listOf(document, 'servers');
    for (const server of servers) {
      const state = stateOf(server);
      const tags = textsIn(recordOf(server, 'metadata'));
      const ref = textOf(server, 'id') ?? '';
      const machine = state === undefined ? undefined : machineOf(tags, cluster, { ref, state });
      if (machine !== undefined) machines.push(machine);
    }
    const isLast = !listOf(document, 'servers_links').some(({ rel }) => rel === 'next');
    if (isLast) return machines;
    marker = textOf(servers.at(-1), 'id');
  }
  throw new ProviderError('unavailable', `the list of servers has more than ${MAX_PAGES} pages`);
}

async function findServer({ client }: OpenStack, ref: string, signal: AbortSignal): Promise<Json | undefined> {
  const url = await client.url('compute', `/servers/${encodeURIComponent(ref)}`, signal);
  const found = await client.cloud.find(url, signal);
  return found === undefined ? undefined : recordOf(found, 'server');
}

/** Throws `not-found`. */
async function liveServer(openstack: OpenStack, ref: string, signal: AbortSignal): Promise<Json> {
  const server = await findServer(openstack, ref, signal);
  const state = server && stateOf(server);
  if (server !== undefined && state !== undefined && state !== 'terminating') return server;
  throw new ProviderError('not-found', `there is no server ${ref} any more`);
}

async function act({ client }: OpenStack, ref: string, verb: string, signal: AbortSignal): Promise<void> {
  const url = await client.url('compute', `/servers/${encodeURIComponent(ref)}/action`, signal);
  await client.cloud.ask({ method: 'POST', url, body: { [verb]: null } }, signal);
}

async function suspend(openstack: OpenStack, ref: string, signal: AbortSignal): Promise<void> {
  const state = stateOf(await liveServer(openstack, ref, signal));
  if (state === 'suspended' || state === 'suspending') return;
  await act(openstack, ref, openstack.settings.suspendBy ?? 'shelve', signal);
}

async function resume(openstack: OpenStack, ref: string, signal: AbortSignal): Promise<void> {
  const server = await liveServer(openstack, ref, signal);
  const state = stateOf(server);
  if (state === 'running' || state === 'starting') return;
  if (state === 'suspending') throw new ProviderError('unavailable', `server ${ref} is still being suspended`);
  const verb = wakingVerbOf(server);
  await act(openstack, ref, verb, signal);
  if (verb === 'unshelve') await untilUnshelved(openstack, ref, signal);
}

/** Without a host that has room the server quietly stays shelved, with nothing being done to it. */
async function untilUnshelved(openstack: OpenStack, ref: string, signal: AbortSignal): Promise<void> {
  const server = await watch(
    async () => {
      const found = await liveServer(openstack, ref, signal);
      return taskOf(found) === 'unshelving' ? undefined : found;
    },
    { clock: openstack.clock, signal },
  );
  if (server === undefined || stateOf(server) !== 'suspended') return;
  throw new ProviderError(
    'capacity',
    `server ${ref} stays shelved: no host has room for flavor "${openstack.settings.flavor}"`,
  );
}

async function terminate({ client }: OpenStack, ref: string, signal: AbortSignal): Promise<void> {
  const url = await client.url('compute', `/servers/${encodeURIComponent(ref)}`, signal);
  await client.cloud.ask({ method: 'DELETE', url }, signal).catch((error: unknown) => {
    if (!(error instanceof CloudError && error.status === 404)) throw error;
  });
}
