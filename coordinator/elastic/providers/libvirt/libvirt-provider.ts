import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { userDataOf } from '../../bootstrap.js';
import {
  type CreateOrder,
  type InstanceProvider,
  type Machine,
  type MachineState,
  ProviderError,
  type ProviderFactory,
  type ProviderTraits,
  SettingsError,
} from '../../provider.js';
import { AGENT_SETTINGS, agentSourceOf, nameSetting } from '../cloud-settings.js';
import { guarded } from '../provider-call.js';
import { choiceSetting, type ProviderSettings, readProviderSettings, textSetting } from '../provider-settings.js';
import { type DomainSettings, domainNameOf, domainXml, machinesIn, volumesOf } from './domain.js';
import { seedDisk } from './seed-disk.js';
import { type Virsh, virshOf } from './virsh.js';

const SETTINGS = {
  uri: { parse: textSetting },
  image: { parse: nameSetting('the name of a volume'), required: 'the name of a volume, such as "berth.qcow2"' },
  storage: { parse: nameSetting('the name of a storage pool') },
  network: { parse: nameSetting('the name of a network') },
  virtualization: { parse: choiceSetting(['kvm', 'qemu']) },
  suspendBy: { parse: choiceSetting(['save', 'pause']) },
  kernel: { parse: textSetting },
  initrd: { parse: textSetting },
  kernelArgs: { parse: textSetting },
  ...AGENT_SETTINGS,
} satisfies ProviderSettings;

interface Options extends DomainSettings {
  readonly virsh: Virsh;
  readonly suspendBy: 'save' | 'pause';
  readonly userData: (order: CreateOrder) => string;
  readonly stateDir: string;
}

const TRAITS: Readonly<Record<Options['suspendBy'], ProviderTraits>> = {
  save: {
    canSuspend: true,
    suspendedBilling: 'keeps its disk and a file of its memory; neither CPU nor memory',
    suspendedCountsInQuota: false,
    suspendKeepsMemory: true,
  },
  pause: {
    canSuspend: true,
    suspendedBilling: 'costs no CPU, but keeps its memory and disk',
    suspendedCountsInQuota: true,
    suspendKeepsMemory: true,
  },
};

/** Virtual machines of a hypervisor that libvirt speaks for, by way of `virsh`. */
export const libvirtProvider: ProviderFactory = (settings, world) => {
  const given = readProviderSettings('libvirt', SETTINGS, settings);
  const { kernel, initrd, kernelArgs } = given;
  if ((kernel === undefined) !== (initrd === undefined) || (kernel === undefined && kernelArgs !== undefined)) {
    const field = kernel === undefined ? 'kernel' : 'initrd';
    const message = 'it is missing; write kernel and initrd, and kernelArgs if wanted, or none of them';
    throw new SettingsError('libvirt', [{ field, message }]);
  }
  const isDirect = kernel !== undefined && initrd !== undefined;
  const source = agentSourceOf(given);
  const provider = new LibvirtProvider({
    virsh: virshOf({ uri: given.uri ?? 'qemu:///system', world }),
    image: given.image,
    storage: given.storage ?? 'default',
    network: given.network ?? 'default',
    virtualization: given.virtualization ?? 'kvm',
    suspendBy: given.suspendBy ?? 'save',
    boot: isDirect ? { kernel, initrd, kernelArgs: kernelArgs ?? 'root=/dev/vda console=ttyS0' } : null,
    userData: (order) => userDataOf(order, source),
    stateDir: world.stateDir,
  });
  return guarded(provider);
};

class LibvirtProvider implements InstanceProvider {
  readonly traits: ProviderTraits;
  readonly #options: Options;
  readonly #virsh: Virsh;

  constructor(options: Options) {
    this.#options = options;
    this.#virsh = options.virsh;
    this.traits = TRAITS[options.suspendBy];
  }

  async check(signal: AbortSignal): Promise<void> {
    const { image, storage, network } = this.#options;
    await this.#virsh(['vol-info', '--pool', storage, image], signal);
    if (network !== 'user') await this.#virsh(['net-info', network], signal);
  }

  /** The definition first: whatever is made after it is then found by the list, and goes with it. */
  async create(order: CreateOrder, signal: AbortSignal): Promise<{ readonly ref: string }> {
    const ref = domainNameOf(order);
    const state = await this.#stateOf(ref, signal);
    if (state !== 'absent' && state !== 'shut off') return { ref };
    const isSaved = state === 'shut off' && (await this.#isSaved(order, signal));
    if (isSaved) return { ref };
    try {
      await this.#make(order, signal);
    } catch (error) {
      // It will never start: there is to be no machine.
      if (error instanceof ProviderError && error.fault !== 'unavailable') await this.terminate(ref, signal);
      throw error;
    }
    return { ref };
  }

  async list(cluster: string, signal: AbortSignal): Promise<readonly Machine[]> {
    const pausedIs: MachineState = this.#options.suspendBy === 'pause' ? 'suspended' : 'suspending';
    const listing = await this.#virsh(['list', '--all', '--title', '--managed-save'], signal);
    return machinesIn(listing, cluster, pausedIs);
  }

  async suspend(ref: string, signal: AbortSignal): Promise<void> {
    const state = await this.#stateOfPresent(ref, signal);
    if (state === 'shut off' || state === 'pmsuspended') return;
    const isPaused = state === 'paused';
    if (this.#options.suspendBy === 'pause') {
      if (!isPaused) await this.#virsh(['suspend', ref], signal);
    } else await ignoring(/not running/, this.#virsh(['managedsave', ref, '--running'], signal));
  }

  async resume(ref: string, signal: AbortSignal): Promise<void> {
    const state = await this.#stateOfPresent(ref, signal);
    if (state === 'paused') await this.#virsh(['resume', ref], signal);
    if (state === 'pmsuspended') await this.#virsh(['dompmwakeup', ref], signal);
    if (state === 'shut off') await ignoring(/already active/, this.#virsh(['start', ref], signal));
  }

  /** The definition last: as long as anything is left, the list shows the machine, and it can be ended again. */
  async terminate(ref: string, signal: AbortSignal): Promise<void> {
    if ((await this.#stateOf(ref, signal)) === 'absent') return;
    await ignoring(/not running|failed to get domain/, this.#virsh(['destroy', ref], signal));
    for (const volume of Object.values(volumesOf(ref))) {
      const { storage } = this.#options;
      await ignoring(
        /failed to get vol|no storage vol/i,
        this.#virsh(['vol-delete', volume, '--pool', storage], signal),
      );
    }
    const undefine = ['undefine', ref, '--managed-save', '--nvram', '--snapshots-metadata'];
    await ignoring(/failed to get domain|Domain not found/, this.#virsh(undefine, signal));
  }

  async #make(order: CreateOrder, signal: AbortSignal): Promise<void> {
    const { image, storage, stateDir, userData } = this.#options;
    const ref = domainNameOf(order);
    const { disk, seed } = volumesOf(ref);
    await mkdir(stateDir, { recursive: true, mode: 0o700 });
    const folder = await mkdtemp(join(stateDir, 'machine-'));
    try {
      await writeFile(join(folder, 'domain.xml'), domainXml(order, this.#options), { mode: 0o600 });
      const content = seedDisk([
        { name: 'user-data', content: userData(order) },
        { name: 'meta-data', content: `instance-id: ${ref}\nlocal-hostname: ${order.nodeId}\n` },
      ]);
      await writeFile(join(folder, seed), content, { mode: 0o600 });
      await this.#virsh(['define', join(folder, 'domain.xml')], signal);
      const backing = ['--backing-vol', image, '--backing-vol-format', 'qcow2'];
      const diskArgs = [disk, await this.#sizeOf(image, signal), '--format', 'qcow2', ...backing];
      await this.#makeVolume(diskArgs, signal);
      await this.#makeVolume([seed, String(content.length), '--format', 'raw'], signal);
      await this.#virsh(['vol-upload', seed, join(folder, seed), '--pool', storage], signal);
      await ignoring(/already active/, this.#virsh(['start', ref], signal));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async #makeVolume(args: readonly string[], signal: AbortSignal): Promise<void> {
    const { storage } = this.#options;
    await ignoring(/exists already|already exists/, this.#virsh(['vol-create-as', storage, ...args], signal));
  }

  /** In bytes. An overlay is as large as what it lies over. */
  async #sizeOf(volume: string, signal: AbortSignal): Promise<string> {
    const answer = await this.#virsh(['vol-dumpxml', volume, '--pool', this.#options.storage], signal);
    const size = /<capacity unit='bytes'>(\d+)</.exec(answer)?.[1];
    if (size !== undefined) return size;
    throw new ProviderError('unavailable', `virsh does not tell how large the volume ${volume} is`);
  }

  async #isSaved({ cluster, instanceId }: CreateOrder, signal: AbortSignal): Promise<boolean> {
    const ref = domainNameOf({ cluster, instanceId });
    const answer = await this.#virsh(['dominfo', ref], signal);
    return /^Managed save:\s+yes/m.test(answer);
  }

  /** libvirt's word; `absent` when there is no such machine. */
  async #stateOf(ref: string, signal: AbortSignal): Promise<string> {
    try {
      return (await this.#virsh(['domstate', ref], signal)).trim();
    } catch (error) {
      if (error instanceof ProviderError && error.fault === 'not-found') return 'absent';
      throw error;
    }
  }

  async #stateOfPresent(ref: string, signal: AbortSignal): Promise<string> {
    const state = await this.#stateOf(ref, signal);
    if (state === 'absent') throw new ProviderError('not-found', `there is no machine ${ref}`);
    return state;
  }
}

/** What this pattern complains of is so already. */
async function ignoring(complaint: RegExp, call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!(error instanceof ProviderError) || !complaint.test(error.message)) throw error;
  }
}
