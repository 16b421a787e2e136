import { didYouMean } from '../../../../shared/suggest.js';
import {
  type CreateOrder,
  type Machine,
  type MachineState,
  ProviderError,
  type ProviderFactory,
  type ProviderTraits,
} from '../../provider.js';
import { guarded } from '../cloud-provider.js';
import { isUnknownHost } from '../http.js';
import { readProviderSettings } from '../provider-settings.js';
import { machineOf, TAGS } from '../tags.js';
import { awsKeys } from './ec2-credentials.js';
import { EC2_SETTINGS, type Ec2Settings, machineParameters, orderParameters } from './ec2-machine.js';
import { Ec2Error, Ec2Query, type Element } from './ec2-query.js';

const MAX_PAGES = 100;
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
  const cloud = { query, settings };
  return guarded({
    traits: traitsOf(settings),
    check: (signal) => check(cloud, signal),
    create: (order, signal) => create(cloud, order, signal),
    list: (cluster, signal) => list(cloud, cluster, signal),
    suspend: (ref, signal) => suspend(cloud, ref, signal),
    resume: (ref, signal) => resume(cloud, ref, signal),
    terminate: (ref, signal) => terminate(cloud, ref, signal),
  });
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
  const regions = await query.ask('DescribeRegions', {}, signal).catch((error: unknown) => {
    if (!isUnknownHost(error)) throw error;
    throw new ProviderError(
      'configuration',
      `region "${region}": its endpoint's host is unknown; check its name`,
      error,
    );
  });
  const names = regions.items('regionInfo').map((each) => each.text('regionName') ?? '');
  if (!names.includes(region)) {
    const hint = didYouMean(region, names) || `; it knows ${names.join(', ')}`;
    throw new ProviderError('configuration', `region "${region}": this account has no such region${hint}`);
  }
  await query.ask('DescribeImages', { 'ImageId.1': image }, signal);
  await query.ask('DescribeInstanceTypes', { 'InstanceType.1': instanceType }, signal);
  if (subnet !== undefined) await query.ask('DescribeSubnets', { 'SubnetId.1': subnet }, signal);
  // A rehearsal says whether these keys may do it.
  await query.ask('RunInstances', { ...machineParameters(settings), DryRun: 'true' }, signal).catch(passRehearsal);
}

function passRehearsal(error: unknown): void {
  if (!(error instanceof Ec2Error && error.code === 'DryRunOperation')) throw error;
}

async function create(cloud: Ec2, order: CreateOrder, signal: AbortSignal): Promise<{ readonly ref: string }> {
  try {
    const made = await cloud.query.ask('RunInstances', orderParameters(cloud.settings, order), signal);
    const [instance] = made.items('instancesSet');
    return { ref: refOf(instance) };
  } catch (error) {
    // The token was used with another join ticket: the machine was ordered before.
    if (!(error instanceof Ec2Error && error.code === 'IdempotentParameterMismatch')) throw error;
    const found = (await list(cloud, order.cluster, signal)).find(({ instanceId }) => instanceId === order.instanceId);
    if (found === undefined) throw error;
    return { ref: found.ref };
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

async function list({ query }: Ec2, cluster: string, signal: AbortSignal): Promise<Machine[]> {
  const states = Object.keys(STATES).map((state, at) => [`Filter.2.Value.${at + 1}`, state] as const);
  const filters = { 'Filter.1.Name': `tag:${TAGS.cluster}`, 'Filter.1.Value.1': cluster };
  const wish = { ...filters, 'Filter.2.Name': 'instance-state-name', ...Object.fromEntries(states) };
  const machines: Machine[] = [];
  let next: string | undefined;
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const answer = await query.ask(
      'DescribeInstances',
      { ...wish, MaxResults: `${PAGE_SIZE}`, NextToken: next },
      signal,
    );
    machines.push(...instancesIn(answer).flatMap((each) => toMachine(each, cluster)));
    next = answer.text('nextToken') || undefined;
    if (next === undefined) return machines;
  }
  throw new ProviderError('unavailable', `the list of machines has more than ${MAX_PAGES} pages`);
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

/** Throws `not-found` for one that is gone, which is listed for an hour still. */
async function find({ query }: Ec2, ref: string, signal: AbortSignal): Promise<Element & { readonly ref?: string }> {
  const [instance] = instancesIn(await query.ask('DescribeInstances', { 'InstanceId.1': ref }, signal));
  const state = instance && stateOf(instance);
  if (instance !== undefined && state !== undefined && state !== 'terminating') return instance;
  throw new ProviderError('not-found', `there is no instance ${ref} any more`);
}

async function suspend(cloud: Ec2, ref: string, signal: AbortSignal): Promise<void> {
  const instance = await find(cloud, ref, signal);
  const state = stateOf(instance);
  if (state === 'suspended' || state === 'suspending') return;
  // As it was made, whatever the settings say by now.
  const hibernates = instance.text('hibernationOptions', 'configured') === 'true';
  await cloud.query.ask('StopInstances', { 'InstanceId.1': ref, Hibernate: hibernates ? 'true' : undefined }, signal);
}

async function resume(cloud: Ec2, ref: string, signal: AbortSignal): Promise<void> {
  const state = stateOf(await find(cloud, ref, signal));
  if (state === 'running' || state === 'starting') return;
  await cloud.query.ask('StartInstances', { 'InstanceId.1': ref }, signal);
}

async function terminate({ query }: Ec2, ref: string, signal: AbortSignal): Promise<void> {
  await query.ask('TerminateInstances', { 'InstanceId.1': ref }, signal).catch((error: unknown) => {
    if (!(error instanceof ProviderError && error.fault === 'not-found')) throw error;
  });
}
