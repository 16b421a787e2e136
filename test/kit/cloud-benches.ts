import type { Test } from 'tap';
import {
  type CreateOrder,
  type InstanceProvider,
  ProviderError,
  type ProviderFactory,
  type ProviderFault,
  type ProviderWorld,
} from '../../coordinator/elastic/provider.js';
import { azureProvider } from '../../coordinator/elastic/providers/azure/azure-provider.js';
import { ec2Provider } from '../../coordinator/elastic/providers/ec2/ec2-provider.js';
import { gcpProvider } from '../../coordinator/elastic/providers/gcp/gcp-provider.js';
import { imProvider } from '../../coordinator/elastic/providers/im/im-provider.js';
import { openstackProvider } from '../../coordinator/elastic/providers/openstack/openstack-provider.js';
import { systemClock } from '../../shared/clock.js';
import type { InstanceId, NodeId } from '../../shared/ids.js';
import type { ProviderBench } from '../conformance/instance-provider.js';
import { AZURE, AZURE_SUBNET, AzureStandIn } from '../fakes/azure-stand-in.js';
import type { CloudStandIn } from '../fakes/cloud-stand-in.js';
import { EC2_IMAGE, EC2_KEYS, EC2_REGION, Ec2StandIn } from '../fakes/ec2-stand-in.js';
import { GCP, GcpStandIn } from '../fakes/gcp-stand-in.js';
import { IM_AUTHORIZATION, ImStandIn } from '../fakes/im-stand-in.js';
import { OPENSTACK, OpenStackStandIn } from '../fakes/openstack-stand-in.js';

export const ORDER: CreateOrder = {
  cluster: 'Hospital_1',
  instanceId: 'i1' as InstanceId,
  pool: 'small',
  nodeId: 'small-1' as NodeId,
  shape: {
    capacity: { cpuMillis: 4_000, memoryMiB: 15_360, diskMiB: 0 },
    gpus: [],
    labels: {},
    attributes: {},
    drivers: ['process'],
  },
  labels: { pool: 'small', owner: 'ann@example.org' },
  join: { url: 'https://berth.example.org', ca: null, token: 'berth_join_1' },
};

/** A cloud in memory and the provider for it. */
export interface CloudBench<Cloud extends CloudStandIn> extends ProviderBench {
  readonly cloud: Cloud;
  /** With settings or secrets other than the right ones; a setting that is undefined is left out. */
  readonly provider: (changes?: Changes) => InstanceProvider;
}

export interface Changes {
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly secrets?: Readonly<Record<string, string>>;
  readonly environment?: Readonly<Record<string, string>>;
}

interface Parts<Cloud extends CloudStandIn> {
  readonly cloud: Cloud;
  readonly factory: ProviderFactory;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly secret: string;
  readonly vanish: (ref: string) => void;
  readonly count: () => number;
  /** Orders of a creation, as the cloud calls them. */
  readonly creation: readonly string[];
}

async function benchOf<Cloud extends CloudStandIn>(t: Test, parts: Parts<Cloud>): Promise<CloudBench<Cloud>> {
  const { cloud, factory } = parts;
  t.teardown(() => cloud.close());
  const provider = ({ settings, secrets, environment }: Changes = {}): InstanceProvider => {
    const given = Object.entries({ ...parts.settings, credentials: 'key', ...settings }).filter(
      ([, value]) => value !== undefined,
    );
    return factory(Object.fromEntries(given), worldOf(secrets ?? { key: parts.secret }, environment ?? {}));
  };
  const signal = new AbortController().signal;
  const lost = parts.creation.map((operation) => {
    const die = async (order: CreateOrder): Promise<void> => {
      cloud.mishap(operation, { kind: 'unanswered' });
      await t.rejects(provider().create(order, signal), { message: /no answer from/ });
    };
    return [`${operation} was carried out and its answer lost`, die] as const;
  });
  const anew = async (order: CreateOrder): Promise<void> => {
    await provider().create({ ...order, join: { ...order.join, token: 'berth_join_0' } }, signal);
  };
  return {
    cloud,
    provider,
    open: () => provider(),
    order: ORDER,
    vanish: async (ref) => parts.vanish(ref),
    count: async () => parts.count(),
    deaths: { ...Object.fromEntries(lost), 'it had another join ticket': anew },
  };
}

function worldOf(
  secrets: Readonly<Record<string, string>>,
  environment: Readonly<Record<string, string>>,
): ProviderWorld {
  return { stateDir: '/nowhere', secret: (name) => secrets[name], environment, clock: systemClock };
}

export async function ec2Bench(t: Test): Promise<CloudBench<Ec2StandIn>> {
  const cloud = await new Ec2StandIn().start();
  return benchOf(t, {
    cloud,
    factory: ec2Provider,
    settings: { region: EC2_REGION, image: EC2_IMAGE, instanceType: 'm7i.large', endpoint: cloud.url },
    secret: `[default]\naws_access_key_id = ${EC2_KEYS.id}\naws_secret_access_key = ${EC2_KEYS.secret}\n`,
    vanish: (ref) => cloud.instances.find(({ id }) => id === ref)?.state.move('terminated'),
    count: () => cloud.alive.length,
    creation: ['RunInstances'],
  });
}

export async function azureBench(t: Test): Promise<CloudBench<AzureStandIn>> {
  const cloud = await new AzureStandIn().start();
  const { tenant, appId, password, subscription, group: resourceGroup, location, size, image } = AZURE;
  const place = { subscription, resourceGroup, location, subnet: AZURE_SUBNET };
  return benchOf(t, {
    cloud,
    factory: azureProvider,
    settings: {
      ...place,
      size,
      image,
      sshKey: 'ssh-ed25519 AAAA berth',
      endpoint: cloud.url,
      tokenEndpoint: cloud.url,
    },
    secret: JSON.stringify({ tenant, appId, displayName: 'berth', password }),
    vanish: (ref) => cloud.remove(ref),
    // A disk and an interface come with each machine, and have to go with it.
    count: () => Math.max(cloud.machines.size, cloud.things.size / 2),
    creation: ['PUT machine', 'GET operation'],
  });
}

export async function gcpBench(t: Test): Promise<CloudBench<GcpStandIn>> {
  const cloud = await new GcpStandIn().start();
  return benchOf(t, {
    cloud,
    factory: gcpProvider,
    settings: { ...GCP, endpoint: cloud.url },
    secret: cloud.key,
    vanish: (ref) => void cloud.instances.delete(ref),
    count: () => cloud.instances.size,
    creation: ['POST instances', 'GET operations'],
  });
}

export async function openstackBench(t: Test): Promise<CloudBench<OpenStackStandIn>> {
  const cloud = await new OpenStackStandIn().start();
  const { user, password, project, region, image, flavor, network } = OPENSTACK;
  return benchOf(t, {
    cloud,
    factory: openstackProvider,
    settings: { authUrl: `${cloud.url}/identity/v3`, user, project, region, image, flavor, network },
    secret: `${password}\n`,
    vanish: (ref) => cloud.remove(ref),
    count: () => cloud.servers.length,
    creation: ['POST servers'],
  });
}

export async function imBench(t: Test): Promise<CloudBench<ImStandIn>> {
  const cloud = await new ImStandIn().start();
  return benchOf(t, {
    cloud,
    factory: imProvider,
    settings: { endpoint: cloud.url, image: 'ost://cloud.example.org/debian' },
    secret: IM_AUTHORIZATION,
    vanish: (ref) => void cloud.infrastructures.delete(ref),
    count: () => cloud.infrastructures.size,
    creation: ['POST infrastructures', 'POST infrastructure'],
  });
}

export const CLOUD_BENCHES = {
  ec2: ec2Bench,
  azure: azureBench,
  gcp: gcpBench,
  openstack: openstackBench,
  im: imBench,
} as const;

export type CloudName = keyof typeof CLOUD_BENCHES;

/** The error with which the call was refused. Fails the test when it is another than the one wanted. */
export async function rejects(
  t: Test,
  call: Promise<unknown>,
  wanted: { readonly fault: ProviderFault; readonly message: RegExp },
): Promise<ProviderError | undefined> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ProviderError)) {
    t.fail(`no ProviderError but ${error}, where ${wanted.message} was expected`);
    return undefined;
  }
  t.match({ fault: error.fault, message: error.message }, wanted, String(wanted.message));
  return error;
}
