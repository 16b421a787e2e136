import {
  type CreateOrder,
  type Machine,
  type MachineState,
  ProviderError,
  type ProviderFactory,
  type ProviderTraits,
} from '../../provider.js';
import { cloudProvider, type FoundMachine } from '../cloud-provider.js';
import { inBatches } from '../concurrency.js';
import { noSuch } from '../faults.js';
import { CloudError, isAbsence, type Json, listOf, recordOf, textOf, textsIn } from '../json-cloud.js';
import { readProviderSettings } from '../provider-settings.js';
import { machineNameOf, machineOf } from '../tags.js';
import { AzureClient } from './azure-client.js';
import { AZURE_SETTINGS, type AzureSettings, machineDocument } from './azure-machine.js';

const API = '2024-07-01';
const SKUS_API = '2021-07-01';
const LOCATIONS_API = '2022-12-01';
const GROUPS_API = '2021-04-01';
const ENDPOINT = 'https://management.azure.com';
const TOKEN_ENDPOINT = 'https://login.microsoftonline.com';

/** Azure's virtual machines. Suspending is deallocating: a machine that is only stopped goes on costing. */
export const azureProvider: ProviderFactory = (given, world) => {
  const settings = readProviderSettings('azure', AZURE_SETTINGS, given);
  const { endpoint = ENDPOINT, tokenEndpoint = TOKEN_ENDPOINT, credentials } = settings;
  const client = new AzureClient({ endpoint, tokenEndpoint, secretName: credentials, world, settings: given });
  return cloudProvider({ client, settings }, TRAITS, { check, create, list, find, suspend, resume, terminate });
};

interface Azure {
  readonly client: AzureClient;
  readonly settings: AzureSettings;
}

const TRAITS: ProviderTraits = {
  canSuspend: true,
  suspendedBilling: 'the disks and a public address; not the machine, once it is deallocated',
  suspendedCountsInQuota: true,
  suspendKeepsMemory: false,
};

function groupPath({ subscription, resourceGroup }: AzureSettings): string {
  return `/subscriptions/${subscription}/resourceGroups/${resourceGroup}`;
}

function machinesPath(settings: AzureSettings): string {
  return `${groupPath(settings)}/providers/Microsoft.Compute/virtualMachines`;
}

function machineUrl({ client, settings }: Azure, name: string, action = ''): string {
  return client.url(`${machinesPath(settings)}/${encodeURIComponent(name)}${action}`, API);
}

async function check({ client, settings }: Azure, signal: AbortSignal): Promise<void> {
  const { location, size, subnet, subscription, image } = settings;
  const ask = (url: string) => client.cloud.ask({ method: 'GET', url }, signal);
  const locations = await client.list(client.url(`/subscriptions/${subscription}/locations`, LOCATIONS_API), signal);
  const places = locations.map((each) => textOf(each, 'name') ?? '');
  if (!places.includes(location)) throw noSuch('location', location, { remedy: places });
  await ask(client.url(groupPath(settings), GROUPS_API));
  await ask(client.url(subnet, '2023-09-01')).catch(blame('subnet', subnet, 'name one that exists'));
  const compute = `/subscriptions/${subscription}/providers/Microsoft.Compute`;
  const imagePath = image.startsWith('/') ? image : urnPath(`${compute}/locations/${location}`, image);
  await ask(client.url(imagePath, API)).catch(blame('image', image, `name one of ${location}: az vm image list --all`));
  const skus = await client.list(
    `${client.url(`${compute}/skus`, SKUS_API)}&$filter=location eq '${location}'`,
    signal,
  );
  const names = skus.filter((sku) => sku.resourceType === 'virtualMachines').map((sku) => sku.name);
  if (!names.includes(size)) {
    throw noSuch('size', size, { remedy: `az vm list-sizes --location ${location} names them` });
  }
}

/** The versions of a published image: its newest need not be asked for. */
function urnPath(place: string, urn: string): string {
  const [publisher, offer, sku, version] = urn.split(':');
  const skus = `${place}/publishers/${publisher}/artifacttypes/vmimage/offers/${offer}/skus/${sku}`;
  return version === 'latest' ? `${skus}/versions` : `${skus}/versions/${version}`;
}

/** A thing that is not there is a setting that is wrong. */
function blame(setting: string, value: string, remedy: string): (error: unknown) => never {
  return (cause) => {
    throw isAbsence(cause) ? noSuch(setting, value, { remedy, cause }) : cause;
  };
}

async function create(azure: Azure, order: CreateOrder, signal: AbortSignal): Promise<string> {
  const { cloud } = azure.client;
  const name = machineNameOf(order);
  const url = machineUrl(azure, name);
  const body = machineDocument(azure.settings, name, order);
  try {
    // Only if there is none: names are unique in a group, and an order to make is otherwise one to change.
    const reply = await cloud.ask({ method: 'PUT', url, body, headers: { 'if-none-match': '*' } }, signal);
    await azure.client.follow(reply, signal);
  } catch (error) {
    if (error instanceof CloudError && error.status === 412) return await takeUp(azure, name, signal);
    if (!(error instanceof ProviderError) || error.fault === 'unavailable') throw error;
    // What could not be placed is there all the same, as a machine that failed.
    await terminate(azure, name, signal);
    throw error;
  }
  return name;
}

/** A machine of the name is there. One that failed by itself is removed, so that the next try makes it anew. */
async function takeUp(azure: Azure, name: string, signal: AbortSignal): Promise<string> {
  const found = await azure.client.cloud.find(machineUrl(azure, name), signal);
  const state = textOf(found, 'properties', 'provisioningState');
  if (found !== undefined && state !== 'Failed' && state !== 'Deleting') return name;
  if (state === 'Failed') await terminate(azure, name, signal);
  throw new ProviderError('unavailable', `machine ${name} is being removed; then it can be made again`);
}

async function list(azure: Azure, cluster: string, signal: AbortSignal): Promise<Machine[]> {
  const { client, settings } = azure;
  const all = await client.list(client.url(machinesPath(settings), API), signal);
  const ours = all.filter((each) => toMachine(each, cluster, 'running') !== undefined);
  const machines = await inBatches(ours, async (each) => {
    const state = await stateOf(azure, each, signal);
    return state === undefined ? undefined : toMachine(each, cluster, state);
  });
  return machines.filter((each) => each !== undefined);
}

function toMachine(machine: Json, cluster: string, state: MachineState): Machine | undefined {
  return machineOf(textsIn(recordOf(machine, 'tags')), cluster, { ref: textOf(machine, 'name') ?? '', state });
}

const POWER: Readonly<Record<string, MachineState>> = {
  'PowerState/starting': 'starting',
  'PowerState/running': 'running',
  // Switched off from within: it costs as one that runs, and no agent of it answers.
  'PowerState/stopping': 'running',
  'PowerState/stopped': 'running',
  'PowerState/deallocating': 'suspending',
  'PowerState/deallocated': 'suspended',
};

/** Undefined when it is gone. A list has no power states, hence one more look for each machine. */
async function stateOf(azure: Azure, machine: Json, signal: AbortSignal): Promise<MachineState | undefined> {
  if (textOf(machine, 'properties', 'provisioningState') === 'Deleting') return 'terminating';
  const view = await azure.client.cloud.find(machineUrl(azure, textOf(machine, 'name') ?? '', '/instanceView'), signal);
  if (view === undefined) return undefined;
  const codes = listOf(view, 'statuses').map((status) => textOf(status, 'code') ?? '');
  if (codes.some((code) => code.startsWith('ProvisioningState/deleting'))) return 'terminating';
  // One that failed to be placed will never join; who waits for it ends it.
  return codes.map((code) => POWER[code]).find((state) => state !== undefined) ?? 'starting';
}

async function find(azure: Azure, ref: string, signal: AbortSignal): Promise<FoundMachine | undefined> {
  const machine = await azure.client.cloud.find(machineUrl(azure, ref), signal);
  const state = machine && (await stateOf(azure, machine, signal));
  return state && { ref, state };
}

async function suspend(azure: Azure, { ref }: FoundMachine, signal: AbortSignal): Promise<void> {
  await azure.client.cloud.ask({ method: 'POST', url: machineUrl(azure, ref, '/deallocate') }, signal);
}

async function resume(azure: Azure, { ref }: FoundMachine, signal: AbortSignal): Promise<void> {
  const reply = await azure.client.cloud.ask({ method: 'POST', url: machineUrl(azure, ref, '/start') }, signal);
  // Whether there is room for it is only found out while it starts.
  await azure.client.follow(reply, signal);
}

function terminate(azure: Azure, ref: string, signal: AbortSignal): Promise<void> {
  return azure.client.cloud.remove(machineUrl(azure, ref), signal);
}
