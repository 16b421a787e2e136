import { createHash } from 'node:crypto';
import type { InstanceId } from '../../../../shared/ids.js';
import type { CreateOrder, Machine, MachineState } from '../../provider.js';

export interface DomainSettings {
  /** A volume of the storage pool; machines' disks are overlays of it. */
  readonly image: string;
  readonly storage: string;
  /** A network of libvirt's, or `user`: the hypervisor's own address translation, for trying out. */
  readonly network: string;
  readonly virtualization: 'kvm' | 'qemu';
  /** Files of the hypervisor, for an image without a boot loader. */
  readonly boot: { readonly kernel: string; readonly initrd: string; readonly kernelArgs: string } | null;
}

const INSTANCE = /^i\d+$/;

/** A machine's domain has its tag as its name, so that libvirt itself refuses a second one. */
export function domainNameOf({ cluster, instanceId }: Pick<CreateOrder, 'cluster' | 'instanceId'>): string {
  return `berth-${cluster}-${instanceId}`;
}

export function volumesOf(ref: string): { readonly disk: string; readonly seed: string } {
  return { disk: `${ref}.qcow2`, seed: `${ref}-seed.iso` };
}

/** The definition. The same order gives the same one, so that defining it again changes nothing. */
export function domainXml(order: CreateOrder, settings: DomainSettings): string {
  const { boot, network, virtualization } = settings;
  const name = domainNameOf(order);
  const { disk, seed } = volumesOf(name);
  const { cpuMillis, memoryMiB } = order.shape.capacity;
  const source = network === 'user' ? '' : `<source network='${escaped(network)}'/>`;
  return `<domain type='${virtualization}'>
  <name>${escaped(name)}</name>
  <uuid>${uuidOf(name)}</uuid>
  <title>${escaped(order.pool)}</title>
  <description>A node of Berth's cluster ${escaped(order.cluster)}; it is started and ended by its coordinator.</description>
  <memory unit='MiB'>${memoryMiB}</memory>
  <vcpu>${Math.max(1, Math.ceil(cpuMillis / 1_000))}</vcpu>
  <os>
    <type arch='x86_64'>hvm</type>
    ${boot === null ? "<boot dev='hd'/>" : bootXml(boot)}
  </os>
  <features><acpi/></features>
  ${virtualization === 'kvm' ? "<cpu mode='host-passthrough'/>" : ''}
  <on_crash>destroy</on_crash>
  <devices>
    ${diskXml(settings.storage, { volume: disk, format: 'qcow2', target: 'vda' })}
    ${diskXml(settings.storage, { volume: seed, format: 'raw', target: 'vdb' })}
    <interface type='${network === 'user' ? 'user' : 'network'}'>${source}<model type='virtio'/></interface>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <serial type='pty'/>
    <console type='pty'/>
    <memballoon model='none'/>
  </devices>
</domain>
`;
}

function bootXml({ kernel, initrd, kernelArgs }: NonNullable<DomainSettings['boot']>): string {
  return `<kernel>${escaped(kernel)}</kernel><initrd>${escaped(initrd)}</initrd><cmdline>${escaped(kernelArgs)}</cmdline>`;
}

interface Disk {
  readonly volume: string;
  readonly format: 'qcow2' | 'raw';
  readonly target: 'vda' | 'vdb';
}

function diskXml(pool: string, { volume, format, target }: Disk): string {
  const source = `<source pool='${escaped(pool)}' volume='${escaped(volume)}'/>`;
  const readonly = format === 'raw' ? '<readonly/>' : '';
  return `<disk type='volume' device='disk'><driver name='qemu' type='${format}'/>${source}<target dev='${target}' bus='virtio'/>${readonly}</disk>`;
}

/** Made of the name: a second definition of the machine is then the same machine to libvirt. */
function uuidOf(name: string): string {
  const hash = createHash('sha256').update(`berth/${name}`).digest('hex');
  const parts = [hash.slice(0, 8), hash.slice(8, 12), `8${hash.slice(13, 16)}`, `8${hash.slice(17, 20)}`];
  return [...parts, hash.slice(20, 32)].join('-');
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  "'": '&apos;',
  '"': '&quot;',
};

function escaped(text: string): string {
  return text.replace(/[&<>'"]/g, (letter) => ENTITIES[letter] ?? letter);
}

/** Machines of the cluster in what `virsh list --all --title --managed-save` prints. */
export function machinesIn(listing: string, cluster: string, pausedIs: MachineState): Machine[] {
  const prefix = domainNameOf({ cluster, instanceId: '' as InstanceId });
  return listing.split('\n').flatMap((line) => {
    const [, ref, status, pool = ''] = LINE.exec(line) ?? [];
    if (ref === undefined || status === undefined || !ref.startsWith(prefix)) return [];
    const instanceId = ref.slice(prefix.length) as InstanceId;
    if (!INSTANCE.test(instanceId)) return [];
    return [{ ref, instanceId, pool, state: status === 'paused' ? pausedIs : (STATES[status] ?? 'running') }];
  });
}

/** Id, name, state, title; the state may be two words. */
const LINE = /^\s*(?:\d+|-)\s+(\S+)\s{2,}(\S+(?: \S+)?)(?:\s{2,}(\S+))?\s*$/;

/** libvirt's words for how a machine is. One that is off can be started like one that was suspended. */
const STATES: Readonly<Record<string, MachineState>> = {
  saved: 'suspended',
  pmsuspended: 'suspended',
  'shut off': 'suspended',
  crashed: 'suspended',
};
