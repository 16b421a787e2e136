import type { Clock } from '../../../../shared/clock.js';
import {
  type CreateOrder,
  type Machine,
  ProviderError,
  type ProviderFactory,
  type ProviderTraits,
} from '../../provider.js';
import { cloudProvider, type FoundMachine } from '../cloud-provider.js';
import { OneAtATime } from '../concurrency.js';
import { noSuch } from '../faults.js';
import { watch } from '../http.js';
import { type Json, listOf, recordOf, textOf, textsIn } from '../json-cloud.js';
import { allPages } from '../pages.js';
import { readProviderSettings } from '../provider-settings.js';
import { machineNameOf, machineOf, machinePrefixOf } from '../tags.js';
import { OpenStackClient } from './openstack-client.js';
import { loginOf, OPENSTACK_SETTINGS, type OpenStackSettings, serverDocument } from './openstack-server.js';
import { stateOf, taskOf, wakingVerbOf } from './server-states.js';

const PAGE_SIZE = 500;

/** OpenStack's compute service. Suspending is shelving, or, where it is set so, keeping the memory on the host. */
export const openstackProvider: ProviderFactory = (given, world) => {
  const settings = readProviderSettings('openstack', OPENSTACK_SETTINGS, given);
  const { authUrl, region, interface: interfaceName = 'public', credentials } = settings;
  const login = loginOf(settings);
  const options = { authUrl, region, interfaceName, login, secretName: credentials, world, settings: given };
  const client = new OpenStackClient(options);
  const openstack = { client, settings, clock: world.clock, making: new OneAtATime<string>() };
  const orders = { check, create, list, find, suspend, resume, terminate };
  return cloudProvider(openstack, TRAITS[settings.suspendBy ?? 'shelve'], orders);
};

interface OpenStack {
  readonly client: OpenStackClient;
  readonly settings: OpenStackSettings;
  readonly clock: Clock;
  /** Nova has no idempotency token: the look for a machine that is there and its making must not overlap. */
  readonly making: OneAtATime<string>;
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
  throw noSuch('image', image, { remedy: 'openstack image list names them' });
}

async function flavorId({ client, settings }: OpenStack, signal: AbortSignal): Promise<string> {
  const { flavor } = settings;
  const url = await client.url('compute', '/flavors', signal);
  const flavors = listOf((await client.cloud.ask({ method: 'GET', url }, signal)).document, 'flavors');
  const found = flavors.find(({ id, name }) => id === flavor || name === flavor);
  if (found !== undefined) return textOf(found, 'id') ?? flavor;
  throw noSuch('flavor', flavor, { remedy: flavors.map((each) => textOf(each, 'name') ?? '') });
}

function create(openstack: OpenStack, order: CreateOrder, signal: AbortSignal): Promise<string> {
  return openstack.making.run(machineNameOf(order), () => make(openstack, order, signal));
}

async function make(openstack: OpenStack, order: CreateOrder, signal: AbortSignal): Promise<string> {
  const { client } = openstack;
  const known = await machinesOf(openstack, order, signal);
  if (known[0] !== undefined) return known[0].ref;
  const [image, flavor] = await Promise.all([imageId(openstack, signal), flavorId(openstack, signal)]);
  const url = await client.url('compute', '/servers', signal);
  const body = { server: serverDocument(openstack.settings, order, { image, flavor }) };
  const { document } = await client.cloud.ask({ method: 'POST', url, body }, signal);
  const ref = textOf(document, 'server', 'id') ?? '';
  await untilPlaced(openstack, ref, signal);
  return keepOldest(openstack, order, { ref, signal });
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
async function list({ client }: OpenStack, cluster: string, signal: AbortSignal): Promise<readonly Machine[]> {
  const wish = {
    name: `^${machinePrefixOf(cluster)}`,
    sort_key: 'created_at',
    sort_dir: 'asc',
    limit: String(PAGE_SIZE),
  };
  return allPages<Machine, string>(async (marker) => {
    const query = new URLSearchParams(marker === undefined ? wish : { ...wish, marker });
    const url = await client.url('compute', `/servers/detail?${query}`, signal);
    const { document } = await client.cloud.ask({ method: 'GET', url }, signal);
    const servers = listOf(document, 'servers');
    const hasMore = listOf(document, 'servers_links').some(({ rel }) => rel === 'next');
    return {
      items: servers.flatMap((server) => toMachine(server, cluster) ?? []),
      next: hasMore ? textOf(servers.at(-1), 'id') : undefined,
    };
  });
}

function toMachine(server: Json, cluster: string): Machine | undefined {
  const state = stateOf(server);
  const tags = textsIn(recordOf(server, 'metadata'));
  return state && machineOf(tags, cluster, { ref: textOf(server, 'id') ?? '', state });
}

async function findServer({ client }: OpenStack, ref: string, signal: AbortSignal): Promise<Json | undefined> {
  const url = await client.url('compute', `/servers/${encodeURIComponent(ref)}`, signal);
  const found = await client.cloud.find(url, signal);
  return found === undefined ? undefined : recordOf(found, 'server');
}

interface FoundServer extends FoundMachine {
  readonly server: Json;
}

async function find(openstack: OpenStack, ref: string, signal: AbortSignal): Promise<FoundServer | undefined> {
  const server = await findServer(openstack, ref, signal);
  const state = server && stateOf(server);
  return state && { ref, state, server };
}

async function act({ client }: OpenStack, ref: string, verb: string, signal: AbortSignal): Promise<void> {
  const url = await client.url('compute', `/servers/${encodeURIComponent(ref)}/action`, signal);
  await client.cloud.ask({ method: 'POST', url, body: { [verb]: null } }, signal);
}

function suspend(openstack: OpenStack, { ref }: FoundServer, signal: AbortSignal): Promise<void> {
  return act(openstack, ref, openstack.settings.suspendBy ?? 'shelve', signal);
}

async function resume(openstack: OpenStack, { ref, server }: FoundServer, signal: AbortSignal): Promise<void> {
  const verb = wakingVerbOf(server);
  await act(openstack, ref, verb, signal);
  if (verb === 'unshelve') await untilUnshelved(openstack, ref, signal);
}

/** Without a host that has room the server quietly stays shelved, with nothing being done to it. */
async function untilUnshelved(openstack: OpenStack, ref: string, signal: AbortSignal): Promise<void> {
  const found = await watch(
    async () => {
      const seen = (await findServer(openstack, ref, signal)) ?? {};
      return taskOf(seen) === 'unshelving' ? undefined : seen;
    },
    { clock: openstack.clock, signal },
  );
  if (found === undefined || stateOf(found) !== 'suspended') return;
  const { flavor } = openstack.settings;
  throw new ProviderError('capacity', `server ${ref} stays shelved: no host has room for flavor "${flavor}"`);
}

async function terminate({ client }: OpenStack, ref: string, signal: AbortSignal): Promise<void> {
  await client.cloud.remove(await client.url('compute', `/servers/${encodeURIComponent(ref)}`, signal), signal);
}
