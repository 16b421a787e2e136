import {
  type CreateOrder,
  type Machine,
  type MachineState,
  ProviderError,
  type ProviderFactory,
  type ProviderTraits,
} from '../../provider.js';
import { cloudProvider, type FoundMachine } from '../cloud-provider.js';
import { noSuch } from '../faults.js';
import { isUnknownHost } from '../http.js';
import { allPages } from '../pages.js';
import { readProviderSettings } from '../provider-settings.js';
import { machineOf, TAGS } from '../tags.js';
import { awsKeys } from './ec2-credentials.js';
import { EC2_SETTINGS, type Ec2Settings, machineParameters, orderParameters } from './ec2-machine.js';
import { Ec2Error, Ec2Query, type Element } from './ec2-query.js';

const PAGE_SIZE = 1_000;

/** Amazon EC2, and what speaks its language. Suspending is stopping, with the memory on disk where `hibernate` is set. */
export const ec2Provider: ProviderFactory = (given, world) => {
  const settings = readProviderSettings('ec2', EC2_SETTINGS, given);
  const { region, endpoint = endpointOf(region) } = settings;
  const query = new Ec2Query({
    endpoint,
    region,
    keys: awsKeys(world, settings.credentials),
    settings: given,
    clock: world.clock,
  });
  const orders = { check, create, list, find, suspend, resume, terminate };
  return cloudProvider({ query, settings }, traitsOf(settings), orders);
};

interface Ec2 {
  readonly query: Ec2Query;
  readonly settings: Ec2Settings;
}

function traitsOf({ hibernate }: Ec2Settings): ProviderTraits {
  return {
    canSuspend: true,
    suspendedBilling: 'the volumes and any Elastic IP address; not the instance, once it has stopped',
    suspendedCountsInQuota: false,
    suspendKeepsMemory: hibernate === true,
  };
}

/** China's regions are a partition of their own. */
function endpointOf(region: string): string {
  return `https://ec2.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`;
}

async function check({ query, settings }: Ec2, signal: AbortSignal): Promise<void> {
  const { region, image, instanceType, subnet } = settings;
  const regions = await query.ask('DescribeRegions', {}, signal).catch((cause: unknown) => {
    if (!isUnknownHost(cause)) throw cause;
    throw noSuch('region', region, { remedy: "its endpoint's host is unknown; check its name", cause });
  });
  const names = regions.items('regionInfo').map((each) => each.text('regionName') ?? '');
  if (!names.includes(region)) throw noSuch('region', region, { remedy: names });
  await query.ask('DescribeImages', { 'ImageId.1': image }, signal);
  await query.ask('DescribeInstanceTypes', { 'InstanceType.1': instanceType }, signal);
  if (subnet !== undefined) await query.ask('DescribeSubnets', { 'SubnetId.1': subnet }, signal);
  // A rehearsal says whether these keys may do it.
  await query.ask('RunInstances', { ...machineParameters(settings), DryRun: 'true' }, signal).catch(passRehearsal);
}

function passRehearsal(error: unknown): void {
  if (!(error instanceof Ec2Error && error.code === 'DryRunOperation')) throw error;
}

async function create(cloud: Ec2, order: CreateOrder, signal: AbortSignal): Promise<string> {
  try {
    const made = await cloud.query.ask('RunInstances', orderParameters(cloud.settings, order), signal);
    const [instance] = made.items('instancesSet');
    return refOf(instance);
  } catch (error) {
    // The token was used with another join ticket: the machine was ordered before.
    if (!(error instanceof Ec2Error && error.code === 'IdempotentParameterMismatch')) throw error;
    const found = (await list(cloud, order.cluster, signal)).find(({ instanceId }) => instanceId === order.instanceId);
    if (found === undefined) throw error;
    return found.ref;
  }
}

function refOf(instance: Element | undefined): string {
  const ref = instance?.text('instanceId');
  if (ref === undefined) throw new ProviderError('unavailable', 'the EC2 endpoint answers without an instance id');
  return ref;
}

const STATES: Readonly<Record<string, MachineState>> = {
  pending: 'starting',
  running: 'running',
  stopping: 'suspending',
  stopped: 'suspended',
  'shutting-down': 'terminating',
};

async function list({ query }: Ec2, cluster: string, signal: AbortSignal): Promise<readonly Machine[]> {
  const states = Object.keys(STATES).map((state, at) => [`Filter.2.Value.${at + 1}`, state] as const);
  const filters = { 'Filter.1.Name': `tag:${TAGS.cluster}`, 'Filter.1.Value.1': cluster };
  const size = { MaxResults: `${PAGE_SIZE}` };
  const wish = { ...filters, ...size, 'Filter.2.Name': 'instance-state-name', ...Object.fromEntries(states) };
  return allPages<Machine, string>(async (mark) => {
    const answer = await query.ask('DescribeInstances', { ...wish, NextToken: mark }, signal);
    const items = instancesIn(answer).flatMap((each) => toMachine(each, cluster));
    return { items, next: answer.text('nextToken') || undefined };
  });
}

function instancesIn(answer: Element): readonly Element[] {
  return answer.items('reservationSet').flatMap((reservation) => reservation.items('instancesSet'));
}

function toMachine(instance: Element, cluster: string): readonly Machine[] {
  const state = stateOf(instance);
  if (state === undefined) return [];
  const tags = Object.fromEntries(instance.items('tagSet').map((tag) => [tag.text('key'), tag.text('value') ?? '']));
  const machine = machineOf(tags, cluster, { ref: refOf(instance), state });
  return machine === undefined ? [] : [machine];
}

/** Undefined for one that is gone. */
function stateOf(instance: Element): MachineState | undefined {
  return STATES[instance.text('instanceState', 'name') ?? ''];
}

interface FoundInstance extends FoundMachine {
  /** As it was made, whatever the settings say by now. */
  readonly hibernates: boolean;
}

/** One that is gone is listed for an hour still, and then an error. */
async function find({ query }: Ec2, ref: string, signal: AbortSignal): Promise<FoundInstance | undefined> {
  const [instance] = instancesIn(await query.ask('DescribeInstances', { 'InstanceId.1': ref }, signal));
  const state = instance && stateOf(instance);
  return state && { ref, state, hibernates: instance.text('hibernationOptions', 'configured') === 'true' };
}

async function suspend({ query }: Ec2, { ref, hibernates }: FoundInstance, signal: AbortSignal): Promise<void> {
  await query.ask('StopInstances', { 'InstanceId.1': ref, Hibernate: hibernates ? 'true' : undefined }, signal);
}

async function resume({ query }: Ec2, { ref }: FoundInstance, signal: AbortSignal): Promise<void> {
  await query.ask('StartInstances', { 'InstanceId.1': ref }, signal);
}

async function terminate({ query }: Ec2, ref: string, signal: AbortSignal): Promise<void> {
  await query.ask('TerminateInstances', { 'InstanceId.1': ref }, signal);
}
