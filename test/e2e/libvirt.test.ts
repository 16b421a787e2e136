import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { InstanceProvider } from '../../coordinator/elastic/provider.js';
import { libvirtProvider } from '../../coordinator/elastic/providers/libvirt/libvirt-provider.js';
import { instanceProviderConformance, type ProviderBench } from '../conformance/instance-provider.js';
import { dieCreating } from '../kit/dying-coordinator.js';
import { aMachineOrder, aProviderWorld, SMALL_SHAPE } from '../kit/machines.js';
import { poolStory } from '../kit/pool-story.js';

/** The image that scripts/vm-image made, and the daemon of scripts/libvirt-up; scripts/test-libvirt says both. */
const { BERTH_TEST_LIBVIRT: uri, BERTH_TEST_VM_IMAGE: image } = process.env;
const options = uri && image ? {} : { skip: 'virtual machines take minutes: run scripts/test-libvirt' };
const signal = new AbortController().signal;

t.setTimeout(1_800_000);

const settings = {
  uri,
  image: 'berth.qcow2',
  storage: 'images',
  network: 'user',
  virtualization: 'qemu',
  kernel: join(image ?? '/', 'vmlinuz'),
  initrd: join(image ?? '/', 'initrd.img'),
};

t.test('libvirt', options, async (t) => {
  const stateDir = mkdtempSync(join(tmpdir(), 'berth-libvirt-'));
  t.teardown(() => rmSync(stateDir, { recursive: true, force: true }));
  t.test('every promise', async (t) => instanceProviderConformance(t, async (t) => libvirtBench(t, stateDir)));
  t.test('what is wrong is named', async (t) => wrongs(t, stateDir));
  t.test('a pool of virtual machines lives through two bursts', async (t) => {
    const provider = { kind: 'libvirt', ...settings };
    // So the hypervisor's address translation calls this machine.
    const publicUrl = 'http://10.0.2.2:PORT';
    const count = (): number => virsh('list', '--all', '--name').split('\n').filter(Boolean).length;
    await poolStory(t, { provider, node: { cpus: 1, memory: '320MiB' }, publicUrl, limitMs: 600_000, count });
  });
});

async function wrongs(t: Test, stateDir: string): Promise<void> {
  const open = (more: Readonly<Record<string, unknown>>): InstanceProvider =>
    libvirtProvider({ ...settings, ...more }, aProviderWorld(stateDir));
  const missing = { fault: 'configuration', message: /nowhere/ };
  await t.rejects(open({ image: 'nowhere.qcow2' }).check(signal), missing);
  await t.rejects(open({ storage: 'nowhere' }).check(signal), missing);
  await t.rejects(open({ network: 'nowhere' }).check(signal), missing);
  await t.rejects(open({ kernel: '/nowhere/vmlinuz' }).create(aMachineOrder(), signal), missing);
  await t.rejects(open({ image: 'nowhere.qcow2' }).create(aMachineOrder(), signal), missing);
  const gone = open({ uri: 'qemu:///session?socket=/nowhere/sock' });
  await t.rejects(gone.check(signal), { fault: 'unavailable', message: /nowhere/ });
  t.equal(virsh('list', '--all', '--name'), '', 'no machine is left of them');
  t.strictSame(volumes(), [], 'and no volume');
}

function libvirtBench(t: Test, stateDir: string): ProviderBench {
  const names = (): string[] => virsh('list', '--all', '--name').split('\n').filter(Boolean);
  const end = (name: string): void => {
    if (virsh('domstate', name) === 'running') virsh('destroy', name);
    virsh('undefine', name, '--managed-save');
  };
  t.teardown(() => {
    for (const name of names()) end(name);
    for (const volume of volumes()) virsh('vol-delete', volume, '--pool', 'images');
  });
  const capacity = { cpuMillis: 1_000, memoryMiB: 128, diskMiB: 0 };
  return {
    open: () => libvirtProvider(settings, aProviderWorld(stateDir)),
    order: aMachineOrder({ shape: { ...SMALL_SHAPE, capacity } }),
    vanish: async (ref) => end(ref),
    count: async () => names().length,
    deaths: {
      'at its beginning': (order) => dieCreating(order, { kind: 'libvirt', settings, stateDir, afterMs: 100 }),
      'in its middle': (order) => dieCreating(order, { kind: 'libvirt', settings, stateDir, afterMs: 300 }),
      'near its end': (order) => dieCreating(order, { kind: 'libvirt', settings, stateDir, afterMs: 600 }),
    },
  };
}

/** Of machines. */
function volumes(): string[] {
  const lines = virsh('vol-list', '--pool', 'images').split('\n');
  return lines.map((line) => line.trim().split(/\s+/)[0] ?? '').filter((name) => name.startsWith('berth-'));
}

function virsh(...args: string[]): string {
  return execFileSync('virsh', ['--quiet', '--connect', uri ?? '', ...args], { encoding: 'utf8' }).trim();
}
