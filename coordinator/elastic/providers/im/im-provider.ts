import type { NodeShape } from '../../../../shared/pool.js';
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
  flagSetting,
  nameSetting,
  plainSetting,
} from '../cloud-settings.js';
import { inBatches, OneAtATime } from '../concurrency.js';
import { type Json, type JsonCloud, type JsonOrder, listOf, recordOf, textOf, textsIn } from '../json-cloud.js';
import { type ProviderValues, readProviderSettings, textSetting } from '../provider-settings.js';
import { machineNameOf, machineOf, TAGS, type Tags } from '../tags.js';
import { imCloud } from './im-client.js';
import { emptyRadl, machineRadl, type RadlWish } from './radl.js';

const IMAGE = 'an image such as ost://cloud.example.org/ID or aws://eu-west-1/ami-0abc…';

/** What a pool says of its machines there. */
export const IM_SETTINGS = {
  endpoint: { parse: addressSetting, required: 'the address of the service, such as https://im.example.org/im' },
  credentials: { parse: textSetting, required: 'the name of a secret that holds an authorization file' },
  image: { parse: plainSetting(IMAGE, /^[a-z]+:\/\/[\w./:@?=,-]{1,500}$/), required: IMAGE },
  instanceType: { parse: nameSetting('the name of an instance type') },
  availabilityZone: { parse: nameSetting('an availability zone') },
  network: { parse: plainSetting('the name of a network at the cloud') },
  publicAddress: { parse: flagSetting },
  user: { parse: nameSetting("the name of the image's user") },
  cloud: { parse: nameSetting('the id of a line of the authorization file') },
  ...AGENT_SETTINGS,
} as const;

type ImSettings = ProviderValues<typeof IM_SETTINGS>;

/** It answers when the cloud behind it has. */
const ORDER_MS = 180_000;
const MILLIS = 1_000;

/**
 * The Infrastructure Manager of GRyCAP, which makes machines at many clouds.
 *
 * Each machine is an infrastructure of its own, so that everything that was made for it goes with it. The
 * infrastructure is made first, empty and tagged: the interface knows no idempotency token.
 */
export const imProvider: ProviderFactory = (given, world) => {
  const settings = readProviderSettings('im', IM_SETTINGS, given);
  const im = {
    cloud: imCloud({ secretName: settings.credentials, world, settings: given }),
    settings,
    tags: new Map<string, Tags>(),
    making: new OneAtATime<string>(),
  };
  return cloudProvider(im, TRAITS, { check, create, list, find, suspend, resume, terminate });
};

interface Im {
  readonly cloud: JsonCloud;
  readonly settings: ImSettings;
  /** Of infrastructures, by id; empty for those of others. They never change. */
  readonly tags: Map<string, Tags>;
  readonly making: OneAtATime<string>;
}

const TRAITS: ProviderTraits = {
  canSuspend: true,
  suspendedBilling: 'what the cloud behind it bills for a stopped machine: its disks, with some its place too',
  suspendedCountsInQuota: true,
  suspendKeepsMemory: false,
};

function wishOf(settings: ImSettings, { capacity }: NodeShape): RadlWish {
  const { image, instanceType, availabilityZone, network, publicAddress = false, user, cloud } = settings;
  const size = { cpus: Math.ceil(capacity.cpuMillis / MILLIS), memoryMiB: capacity.memoryMiB };
  return { ...size, image, instanceType, availabilityZone, network, publicAddress, user, cloud };
}

function ask(
  { cloud, settings }: Im,
  method: JsonOrder['method'],
  path: string,
  more: { signal: AbortSignal; body?: string },
) {
  const url = `${settings.endpoint}/infrastructures${path}`;
  const { signal, body } = more;
  const answerMs = method === 'GET' ? {} : { answerMs: ORDER_MS };
  return cloud.ask({ method, url, ...answerMs, ...(body === undefined ? {} : { body }) }, signal);
}

/** Ids of all infrastructures of this user, also of those that are not Berth's. */
async function infrastructures(im: Im, signal: AbortSignal): Promise<readonly string[]> {
  const { document } = await ask(im, 'GET', '', { signal });
  return listOf(document, 'uri-list').flatMap((each) => idIn(textOf(each, 'uri')) ?? []);
}

function idIn(uri: string | undefined): string | undefined {
  return /\/infrastructures\/([\w-]+)$/.exec(uri ?? '')?.[1];
}

/** Only the cloud behind it can tell whether there is such an image; it is asked when a machine is made. */
async function check(im: Im, signal: AbortSignal): Promise<void> {
  await infrastructures(im, signal);
}

function create(im: Im, order: CreateOrder, signal: AbortSignal): Promise<string> {
  return im.making.run(machineNameOf(order), () => make(im, order, signal));
}

async function make(im: Im, order: CreateOrder, signal: AbortSignal): Promise<string> {
  const wish = wishOf(im.settings, order.shape);
  const known = (await list(im, order.cluster, signal)).find(({ instanceId }) => instanceId === order.instanceId);
  const ref = known?.ref ?? (await makeEmpty(im, emptyRadl(wish, order), signal));
  if (known !== undefined && (await statesOf(im, known.ref, signal))?.length !== 0) return ref;
  try {
    const body = machineRadl(wish, userDataOf(order, agentSourceOf(im.settings)));
    await ask(im, 'POST', `/${ref}`, { signal, body });
  } catch (error) {
    if (error instanceof ProviderError && error.fault !== 'unavailable') await terminate(im, ref, signal);
    throw error;
  }
  return ref;
}

async function makeEmpty(im: Im, body: string, signal: AbortSignal): Promise<string> {
  const { document } = await ask(im, 'POST', '', { signal, body });
  const ref = idIn(textOf(document, 'uri'));
  if (ref !== undefined) return ref;
  throw new ProviderError('unavailable', 'the Infrastructure Manager answers without the address of what it made');
}

async function list(im: Im, cluster: string, signal: AbortSignal): Promise<Machine[]> {
  const ids = await infrastructures(im, signal);
  for (const id of im.tags.keys()) if (!ids.includes(id)) im.tags.delete(id);
  const machines = await inBatches(ids, async (id) => {
    const tags = await tagsIn(im, id, signal);
    if (tags[TAGS.cluster] !== cluster) return undefined;
    const state = await stateOf(im, id, signal);
    return state === undefined ? undefined : machineOf(tags, cluster, { ref: id, state });
  });
  return machines.filter((each) => each !== undefined);
}

/** From its description: the machine's own tags are the cloud's affair. */
async function tagsIn(im: Im, id: string, signal: AbortSignal): Promise<Tags> {
  const known = im.tags.get(id);
  if (known !== undefined) return known;
  const found = await findOf(im, `/${id}/radl`, signal);
  if (found === undefined) return {};
  const text = JSON.stringify(found.radl ?? '');
  const pairs = Object.values(TAGS).map((tag) => [tag, new RegExp(`${tag}=([\\w.-]+)`).exec(text)?.[1]] as const);
  const tags = textsIn(Object.fromEntries(pairs));
  im.tags.set(id, tags);
  return tags;
}

function findOf({ cloud, settings }: Im, path: string, signal: AbortSignal): Promise<Json | undefined> {
  return cloud.find(`${settings.endpoint}/infrastructures${path}`, signal);
}

const STATES: Readonly<Record<string, MachineState | undefined>> = {
  pending: 'starting',
  running: 'running',
  configured: 'running',
  unconfigured: 'running',
  // It cannot be told at the moment.
  unknown: 'running',
  stopped: 'suspended',
  deleting: 'terminating',
  // It will never join; who waits for it ends it.
  failed: 'starting',
  off: undefined,
};

/** States of its machines, which are one or, before it is made, none; undefined when the infrastructure is gone. */
async function statesOf(im: Im, id: string, signal: AbortSignal): Promise<readonly string[] | undefined> {
  const found = await findOf(im, `/${id}/state`, signal);
  return found && Object.values(textsIn(recordOf(found, 'state', 'vm_states')));
}

async function stateOf(im: Im, id: string, signal: AbortSignal): Promise<MachineState | undefined> {
  const states = await statesOf(im, id, signal);
  if (states === undefined) return undefined;
  const [state] = states;
  return state === undefined ? 'starting' : STATES[state];
}

async function find(im: Im, ref: string, signal: AbortSignal): Promise<FoundMachine | undefined> {
  const state = await stateOf(im, ref, signal);
  return state && { ref, state };
}

async function suspend(im: Im, { ref }: FoundMachine, signal: AbortSignal): Promise<void> {
  await ask(im, 'PUT', `/${ref}/stop`, { signal });
}

async function resume(im: Im, { ref }: FoundMachine, signal: AbortSignal): Promise<void> {
  await ask(im, 'PUT', `/${ref}/start`, { signal });
}

function terminate({ cloud, settings }: Im, ref: string, signal: AbortSignal): Promise<void> {
  return cloud.remove(`${settings.endpoint}/infrastructures/${ref}`, signal, { answerMs: ORDER_MS });
}
