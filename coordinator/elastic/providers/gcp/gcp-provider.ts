import { userDataOf } from '../../bootstrap.js';
import {
  type CreateOrder,
  type Machine,
  type MachineState,
  ProviderError,
  type ProviderFactory,
  type ProviderTraits,
} from '../../provider.js';
import { cloudProvider, type FoundMachine } from '../cloud-provider.js';
import {
  AGENT_SETTINGS,
  addressSetting,
  agentSourceOf,
  CREDENTIALS_SETTING,
  flagSetting,
  nameSetting,
  plainSetting,
} from '../cloud-settings.js';
import { noSuch } from '../faults.js';
import { CloudError, isAbsence, type Json, listOf, recordOf, textOf } from '../json-cloud.js';
import { countSetting, type ProviderValues, readProviderSettings } from '../provider-settings.js';
import { machineNameOf, machineOf, slugOf, TAGS, tagsOf, tokenOf } from '../tags.js';
import { GcpClient } from './gcp-client.js';

const IMAGE = 'an image such as projects/ubuntu-os-cloud/global/images/family/ubuntu-2404-lts-amd64';

/** What a pool says of its machines there. */
export const GCP_SETTINGS = {
  project: { parse: nameSetting('a project'), required: 'the id of a project' },
  zone: { parse: nameSetting('a zone'), required: 'a zone such as europe-west1-b' },
  machineType: { parse: nameSetting('a machine type'), required: 'a machine type such as n2-standard-4' },
  image: { parse: plainSetting(IMAGE, /^projects\/[\w./:-]{1,400}$/), required: IMAGE },
  network: { parse: plainSetting('a network such as global/networks/default') },
  subnet: { parse: plainSetting('a subnet such as regions/europe-west1/subnetworks/nodes') },
  publicAddress: { parse: flagSetting },
  diskGiB: { parse: countSetting({ least: 10, most: 65_536 }) },
  serviceAccount: { parse: nameSetting('the e-mail address of a service account') },
  endpoint: { parse: addressSetting },
  tokenEndpoint: { parse: addressSetting },
  ...CREDENTIALS_SETTING,
  ...AGENT_SETTINGS,
} as const;

type GcpSettings = ProviderValues<typeof GCP_SETTINGS>;

const ENDPOINT = 'https://compute.googleapis.com/compute/v1';
const PAGE_SIZE = '500';

/** Google Compute Engine: machines are suspended with their memory, and resume where they were. */
export const gcpProvider: ProviderFactory = (given, world) => {
  const settings = readProviderSettings('gcp', GCP_SETTINGS, given);
  const { endpoint = ENDPOINT, tokenEndpoint = null, credentials } = settings;
  const client = new GcpClient({ endpoint, tokenEndpoint, secretName: credentials, world, settings: given });
  const gcp = { client, settings, zonePath: `projects/${settings.project}/zones/${settings.zone}` };
  return cloudProvider(gcp, TRAITS, { check, create, list, find, suspend, resume, terminate });
};

interface Gcp {
  readonly client: GcpClient;
  readonly settings: GcpSettings;
  readonly zonePath: string;
}

const TRAITS: ProviderTraits = {
  canSuspend: true,
  suspendedBilling: 'the stored memory, the disks and a static address; after 60 days Google stops the machine',
  // The number of machines does; of processors Google's reference does not say it clearly.
  suspendedCountsInQuota: true,
  suspendKeepsMemory: true,
};

async function check(gcp: Gcp, signal: AbortSignal): Promise<void> {
  const { client, settings, zonePath } = gcp;
  const { project, zone, machineType, image } = settings;
  if ((await client.cloud.find(client.url(zonePath), signal)) === undefined) {
    const zones = await client.list(`projects/${project}/zones`, {}, signal).catch((cause: unknown) => {
      throw isAbsence(cause) ? noSuch('project', project, { remedy: 'gcloud projects list names them', cause }) : cause;
    });
    throw noSuch('zone', zone, { remedy: zones.map((each) => textOf(each, 'name') ?? '') });
  }
  const things = [
    [
      'machineType',
      machineType,
      `${zonePath}/machineTypes/${machineType}`,
      'gcloud compute machine-types list names them',
    ],
    ['image', image, image, 'gcloud compute images list --uri names them'],
  ] as const;
  for (const [setting, value, path, remedy] of things) {
    if ((await client.cloud.find(client.url(path), signal)) !== undefined) continue;
    throw noSuch(setting, value, { remedy });
  }
}

async function create(gcp: Gcp, order: CreateOrder, signal: AbortSignal): Promise<string> {
  const { client, settings, zonePath } = gcp;
  const name = machineNameOf(order);
  const requestId = uuidOf(tokenOf(order.cluster, order.instanceId, order.join.token));
  const body = machineDocument(settings, name, order);
  try {
    const url = client.url(`${zonePath}/instances`, { requestId });
    const { document } = await client.cloud.ask({ method: 'POST', url, body }, signal);
    // Quotas and room in the zone are looked at while the order is carried out. One that fails leaves nothing.
    await client.follow(document, zonePath, signal);
  } catch (error) {
    // Names are unique in a zone: it was made before, and the order that it was made by had another ticket.
    if (error instanceof CloudError && isAlready(error)) return await takeUp(gcp, name, signal);
    throw error;
  }
  return name;
}

async function takeUp(gcp: Gcp, name: string, signal: AbortSignal): Promise<string> {
  const found = await find(gcp, name, signal);
  if (found !== undefined && found.state !== 'terminating') return name;
  throw new ProviderError('unavailable', `machine ${name} is being removed; then it can be made again`);
}

function isAlready({ code }: CloudError): boolean {
  return code === 'alreadyExists' || code === 'RESOURCE_ALREADY_EXISTS';
}

/** The digits as a UUID of version 4, which is what request ids have to look like. */
function uuidOf(digits: string): string {
  const parts = [digits.slice(0, 8), digits.slice(8, 12), `4${digits.slice(13, 16)}`, `8${digits.slice(17, 20)}`];
  return [...parts, digits.slice(20, 32)].join('-');
}

function machineDocument(settings: GcpSettings, name: string, order: CreateOrder): Json {
  const { zone, machineType, image, network, subnet, publicAddress, diskGiB, serviceAccount } = settings;
  const userData = userDataOf(order, agentSourceOf(settings));
  const place = subnet === undefined ? { network: network ?? 'global/networks/default' } : { subnetwork: subnet };
  const outside = { accessConfigs: [{ type: 'ONE_TO_ONE_NAT', name: 'External NAT' }] };
  const size = diskGiB === undefined ? {} : { diskSizeGb: String(diskGiB) };
  const account = { email: serviceAccount, scopes: ['https://www.googleapis.com/auth/cloud-platform'] };
  const items = Object.entries({ ...tagsOf(order), 'user-data': userData }).map(([key, value]) => ({ key, value }));
  return {
    name,
    machineType: `zones/${zone}/machineTypes/${machineType}`,
    labels: { [TAGS.cluster]: slugOf(order.cluster) },
    // Labels take small letters only; the tags themselves are in the metadata.
    metadata: { items },
    disks: [{ boot: true, autoDelete: true, initializeParams: { sourceImage: image, ...size } }],
    networkInterfaces: [{ ...place, ...(publicAddress ? outside : {}) }],
    ...(serviceAccount === undefined ? {} : { serviceAccounts: [account] }),
  };
}

/** `TERMINATED` is what Google calls a machine that is switched off. */
const STATES: Readonly<Record<string, MachineState>> = {
  PROVISIONING: 'starting',
  STAGING: 'starting',
  RUNNING: 'running',
  REPAIRING: 'running',
  SUSPENDING: 'suspending',
  SUSPENDED: 'suspended',
  STOPPING: 'terminating',
  TERMINATED: 'suspended',
};

function stateOf(instance: Json): MachineState {
  return STATES[String(instance.status)] ?? 'running';
}

async function list({ client, zonePath }: Gcp, cluster: string, signal: AbortSignal): Promise<Machine[]> {
  const filter = `labels.${TAGS.cluster}=${slugOf(cluster)}`;
  const found = await client.list(`${zonePath}/instances`, { filter, maxResults: PAGE_SIZE }, signal);
  return found.flatMap((instance) => {
    const items = listOf(recordOf(instance, 'metadata'), 'items');
    const tags = Object.fromEntries(items.map((item) => [textOf(item, 'key') ?? '', textOf(item, 'value') ?? '']));
    return machineOf(tags, cluster, { ref: textOf(instance, 'name') ?? '', state: stateOf(instance) }) ?? [];
  });
}

interface FoundInstance extends FoundMachine {
  /** Switched off, not suspended: it has no memory to resume with. */
  readonly isOff: boolean;
}

async function find(gcp: Gcp, ref: string, signal: AbortSignal): Promise<FoundInstance | undefined> {
  const found = await gcp.client.cloud.find(instanceUrl(gcp, ref), signal);
  return found && { ref, state: stateOf(found), isOff: found.status === 'TERMINATED' };
}

function instanceUrl({ client, zonePath }: Gcp, ref: string, verb = ''): string {
  return client.url(`${zonePath}/instances/${encodeURIComponent(ref)}${verb}`);
}

function suspend(gcp: Gcp, { ref }: FoundInstance, signal: AbortSignal): Promise<void> {
  return act(gcp, ref, 'suspend', signal);
}

function resume(gcp: Gcp, { ref, isOff }: FoundInstance, signal: AbortSignal): Promise<void> {
  return act(gcp, ref, isOff ? 'start' : 'resume', signal);
}

function terminate(gcp: Gcp, ref: string, signal: AbortSignal): Promise<void> {
  return gcp.client.cloud.remove(instanceUrl(gcp, ref), signal);
}

async function act(gcp: Gcp, ref: string, verb: string, signal: AbortSignal): Promise<void> {
  const { client, zonePath } = gcp;
  const { document } = await client.cloud.ask({ method: 'POST', url: instanceUrl(gcp, ref, `/${verb}`) }, signal);
  // Whether the guest can be suspended, or whether there is room for it again, shows only while it is done.
  await client.follow(document, zonePath, signal);
}
