import { execFileSync } from 'node:child_process';
import { appendFileSync, closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { carryOut } from '../../agent/discovery/gpu/decide.js';
import type { GpuProcess } from '../../agent/discovery/gpu/gpu.js';
import { GpuUse } from '../../agent/discovery/gpu/gpu-use.js';
import { KernelLog } from '../../agent/discovery/gpu/kernel-log.js';
import { busOf, withXids } from '../../agent/discovery/gpu/xid.js';
import type { AllocationId } from '../../shared/ids.js';
import { usageOf } from '../../shared/usage.js';
import type { StartOrder } from '../../shared/wire/messages.js';
import { gpus } from '../kit/builders.js';
import { aGpu, aPage } from '../kit/nvidia-pages.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { until } from '../kit/until.js';
import { anOrder } from '../kit/wire-samples.js';
import { GpuRig } from './gpu-rig.js';

const keepAlive = setInterval(() => {}, 60_000);
t.teardown(() => clearInterval(keepAlive));

t.test(
  'an error that the kernel reports takes its device out until the operator lets it in, and so does a later one',
  async (t) => {
    const rig = new GpuRig(t);
    rig.tool.prints(aPage({ gpus: [aGpu(), aGpu({ number: 1 })] }));
    await rig.start();
    t.equal(rig.inventory.attributes.xid, undefined, 'the log cannot be read');
    const says = (seconds: number, bus: string, text: string): void =>
      appendFileSync(rig.kernelLog, `4,${Math.floor(seconds)},${seconds * 1e6},-;NVRM: Xid (PCI:${bus}): ${text}\n`);
    says(5, '0000:01:00', '31, pid=7, name=python, Ch 00000008, MMU Fault');
    says(6, '0000:01:00', '94, pid=7, name=python, Contained error');
    says(7.25, '0000:02:00', '79, pid=8, name=python, GPU has fallen off the bus.');
    says(8, '0000:09:00', '79, GPU has fallen off the bus: a device of somebody else');
    const first = 'the kernel reports Xid 79: it has fallen off the bus (7.3 s after boot)';
    await rig.untilFaults('the second is out', ([, fault]) => fault === first);
    t.strictSame(rig.faults, [undefined, first], "a program's own fault is not its device's");
    t.equal(rig.inventory.attributes.xid, 'watched');
    says(20, '0000:02:00', '119, pid=8, Timeout after 6s of waiting for RPC response from GPU1 GSP');
    const { changeCount, lookCount } = rig;
    await until('it was looked at again', () => rig.lookCount > lookCount + 2);
    t.strictSame([rig.faults, rig.changeCount], [[undefined, first], changeCount], 'one fault is told');
    carryOut({ verb: 'in', device: '1' }, rig.folder);
    await rig.untilFaults('the one behind it counts', ([, fault]) => /Xid 119.*20\.0 s/.test(fault ?? ''));
    carryOut({ verb: 'in', device: '1' }, rig.folder);
    await rig.untilFaults('it is in', (faults) => faults.every((fault) => fault === undefined));
    await rig.start();
    await until('the next agent has read the log', () => rig.inventory.attributes.xid === 'watched');
    t.strictSame(rig.faults, [undefined, undefined], 'the next agent keeps to that');
    writeFileSync(rig.kernelLog, '');
    await rig.start('boot-2');
    says(9, '0000:02:00', '48, pid=9, DBE (double bit error)');
    await rig.untilFaults('after a reboot', ([, fault]) => /Xid 48: an uncorrectable memory error/.test(fault ?? ''));
  },
);

t.test('the log of the kernel is read to its end and no further, whole lines only', async (t) => {
  const folder = temporaryFolder(t);
  t.equal(new KernelLog(join(folder, 'none')).linesWith('x'), undefined);
  t.equal(new KernelLog(folder).linesWith('x'), undefined, 'a folder is no log');
  const path = join(folder, 'pipe');
  execFileSync('mkfifo', [path]);
  const log = new KernelLog(path);
  t.teardown(() => log.close());
  t.strictSame(log.linesWith('x'), [], 'nobody writes');
  const pipe = openSync(path, 'w');
  t.strictSame(log.linesWith('x'), [], 'nothing is written');
  writeSync(pipe, `one\nx two\n${'long '.repeat(10_000)}x thr`);
  t.strictSame(log.linesWith('x'), ['x two']);
  writeSync(pipe, 'ee\nfour');
  t.match(log.linesWith('x'), [/^long .*x three$/]);
  closeSync(pipe);
  t.strictSame(log.linesWith('x'), []);
});

t.test('bus ids are one, however they are written, and printed lines are read too', async (t) => {
  t.equal(busOf('00000000:3B:00.0'), busOf('0000:3b:00'));
  t.equal(busOf('somewhere'), undefined);
  const lines = [
    '[12345.678901] NVRM: Xid (PCI:0000:3b:00): 48, pid=1, name=x',
    'NVRM: Xid (0001:3b:00): 64, older drivers',
    '[ 9.5] NVRM: Xid (PCI:0000:3c:00 GPU-I:05): 95, pid=1, of a slice',
    '[ 9.6] NVRM: Xid (PCI:0000:3d:00): 63, pid=1, Row Remapper: New row marked for remapping',
  ];
  const faults = withXids({}, lines);
  t.strictSame(
    Object.entries(faults).map(([bus, { told }]) => `${bus} ${told}`),
    [
      '0:3b:00 the kernel reports Xid 48: an uncorrectable memory error (12345.7 s after boot)',
      '1:3b:00 the kernel reports Xid 64: a defective memory page or row could not be replaced',
      '0:3c:00 the kernel reports Xid 95: a memory error that was not contained (9.5 s after boot)',
    ],
  );
});

t.test('what attempts use of their GPUs: all of what is theirs alone, their processes on what is shared', async (t) => {
  const owners = new Map([
    [1, 'j2.0#1'],
    [2, 'j3.0#1'],
  ]);
  const use = new GpuUse((pid) => owners.get(pid));
  const device = (
    index: number,
    percent: number | null,
    memoryUsedMiB: number,
    processes: readonly GpuProcess[] = [],
  ) => ({
    ...{ index, utilizationPercent: percent, memoryUsedMiB, processes },
  });
  const begin = (id: number, devices: readonly number[], parts: Partial<StartOrder> = {}): void =>
    use.begin(
      anOrder({
        allocationId: `j${id}.0#1` as AllocationId,
        gpus: devices.flatMap((index) => gpus(1, { index })),
        gpuPart: null,
        ...parts,
      }),
    );
  const end = (id: number) => use.end(`j${id}.0#1` as AllocationId);
  const gpuPart = { shareMillis: 500, memoryMiB: 1_000 };
  const missed = use.expectLook();
  begin(1, [0, 1]);
  begin(2, [2], { gpuPart });
  begin(3, [2], { gpuPart });
  begin(4, [3_010]);
  begin(5, []);
  missed([device(0, 100, 40_000)]);
  const processes = [
    { pid: 1, name: 'a', memoryMiB: 300 },
    { pid: 2, name: 'b', memoryMiB: 500 },
    { pid: 3, name: 'of nobody', memoryMiB: 5_000 },
  ];
  const slice = device(3_010, null, 77);
  use.expectLook()([device(0, 10, 1_000), device(1, 20, 2_000), device(2, 90, 9_000, processes), slice]);
  use.expectLook()([device(0, 90, 4_000), device(1, 80, 500), device(2, 90, 9_000, processes.slice(1)), slice]);
  const MIB = 1024 ** 2;
  t.strictSame(end(1), { peakGpuMemoryBytes: 4_500 * MIB, gpuUtilizationPercent: 50 });
  t.strictSame(usageOf(end(2)), { peakGpuMemoryBytes: 300 * MIB }, 'nobody knows who keeps a shared one busy');
  t.strictSame(usageOf(end(3)), { peakGpuMemoryBytes: 500 * MIB });
  t.strictSame(usageOf(end(4)), { peakGpuMemoryBytes: 77 * MIB });
  t.strictSame([end(5), end(1), end(6)], [{}, {}, {}]);
});
