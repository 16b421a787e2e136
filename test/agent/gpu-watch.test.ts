import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { carryOut } from '../../agent/discovery/gpu/decide.js';
import { nvidiaSmi } from '../../agent/discovery/gpu/nvidia-smi.js';
import { systemClock } from '../../shared/clock.js';
import { anInventory } from '../kit/builders.js';
import { BERTH_ENTRY, runCommand } from '../kit/command.js';
import { aGpu, aPage, aSlice, uuidOf } from '../kit/nvidia-pages.js';
import { until } from '../kit/until.js';
import { GpuRig, TIME_LIMIT_MS } from './gpu-rig.js';

const keepAlive = setInterval(() => {}, 60_000);
t.teardown(() => clearInterval(keepAlive));

const never = new AbortController().signal;

t.test('a tool that fails, hangs, floods or is not there gives a reason in time, and no process is left', async (t) => {
  const { tool, source } = new GpuRig(t);
  tool.fails('NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.');
  t.match(await source.read(never), { kind: 'failed', reason: /could not communicate with the NVIDIA driver/ });
  tool.prints(aPage().slice(0, 500));
  t.match(await source.read(never), { kind: 'failed', reason: /no whole page/ });
  tool.prints('\u0000\u0001 garbage \uffff');
  t.match(await source.read(never), { kind: 'failed', reason: /garbage/ });
  const startedAt = Date.now();
  tool.hangs();
  t.match(await source.read(never), { kind: 'failed', reason: /did not answer within 300 ms/ });
  tool.floods();
  t.match(await source.read(never), { kind: 'failed', reason: /more than 16777216 bytes|did not answer/ });
  t.ok(Date.now() - startedAt < 20 * TIME_LIMIT_MS, `${Date.now() - startedAt} ms for both`);
  const absent = nvidiaSmi({ clock: systemClock, program: `${tool.program}-not`, timeLimitMs: TIME_LIMIT_MS });
  t.strictSame(await absent.read(never), { kind: 'absent' });
  await until('nothing of the tool is left', () => processesNaming(tool.program).length === 0);
});

t.test('a look that is no longer wanted ends its program', async (t) => {
  const { tool, source } = new GpuRig(t);
  tool.hangs();
  const stop = new AbortController();
  const reading = source.read(stop.signal);
  await until('it runs', () => processesNaming(tool.program).length > 0);
  stop.abort();
  t.match(await reading, { kind: 'failed' });
  await until('it is gone', () => processesNaming(tool.program).length === 0);
});

t.test('what a tool with an error says of the other GPUs counts, and its list names the slices', async (t) => {
  const { tool, source } = new GpuRig(t);
  const slices = [aSlice({ position: 0, instance: 9 })];
  const list = `GPU 0: X (UUID: ${uuidOf(0)})\n  MIG 1g.5gb      Device  0: (UUID: MIG-1234)\n`;
  tool.prints(`Unable to determine the device handle\n${aPage({ gpus: [aGpu({ slices })] })}`, list);
  const reading = await source.read(never);
  t.match(reading, { kind: 'read', page: { gpus: [{ migDevices: [{ uuid: 'MIG-1234', profile: '1g.5gb' }] }] } });
});

t.test('a machine without GPUs, or with a tool that hangs, starts without, and has them when they come', async (t) => {
  const rig = new GpuRig(t);
  rig.tool.hangs();
  const startedAt = Date.now();
  await rig.start();
  t.ok(Date.now() - startedAt < 3_000, `started after ${Date.now() - startedAt} ms`);
  t.strictSame(rig.inventory, anInventory());
  rig.tool.prints(aPage());
  await until('the GPU is offered', () => rig.inventory.gpus.length === 1);
  t.match(rig.inventory, {
    gpus: [{ index: 0, uuid: uuidOf(0) }],
    attributes: { nvidiaDriver: '571.20', cuda: '12.9' },
  });
  t.strictSame(rig.samples, [
    { index: 0, utilizationPercent: 35, memoryUsedMiB: 1_000, temperatureC: 41, powerWatts: 123.45 },
  ]);
  t.equal(rig.changeCount, 1, 'looks that find nothing new are not told');
});

t.test('a sick GPU, a lost one and a silent tool take devices out of use, and all come back', async (t) => {
  const rig = new GpuRig(t);
  const healthy = aPage({ gpus: [aGpu(), aGpu({ number: 1 })] });
  rig.tool.prints(healthy);
  await rig.start();
  t.strictSame(rig.faults, [undefined, undefined]);
  const sick = aGpu({ more: '<gpu_recovery_action>Reset</gpu_recovery_action>' });
  rig.tool.prints(aPage({ gpus: [sick, aGpu({ number: 1 })] }));
  await rig.untilFaults('the first is sick', ([first, second]) => /Reset/.test(first ?? '') && second === undefined);
  rig.tool.prints(aPage({ gpus: [aGpu({ number: 1 })] }));
  await rig.untilFaults(
    'the first is lost',
    ([first, second]) => /no longer/.test(first ?? '') && second === undefined,
  );
  rig.tool.prints(healthy);
  await rig.untilFaults('both are well', (faults) => faults.every((fault) => fault === undefined));
  rig.tool.fails('driver is gone');
  await rig.untilFaults('the driver is gone', (faults) => faults.every((fault) => /driver is gone/.test(fault ?? '')));
  t.strictSame(rig.samples, []);
  t.equal(rig.inventory.gpus.length, 2, 'both are still reported');
  rig.tool.prints(healthy);
  await rig.untilFaults('both are well again', (faults) => faults.every((fault) => fault === undefined));
});

t.test('the next agent of the same boot begins with what was known; after a reboot it looks anew', async (t) => {
  const rig = new GpuRig(t);
  rig.tool.prints(aPage({ gpus: [aGpu(), aGpu({ number: 1 })] }));
  await rig.start();
  const before = rig.inventory;
  rig.tool.hangs();
  const startedAt = Date.now();
  await rig.start();
  t.strictSame(rig.inventory, before);
  t.ok(Date.now() - startedAt < 1_000, 'at once');
  rig.tool.prints(aPage({ gpus: [aGpu({ number: 1 })] }));
  await rig.start('boot-2');
  t.strictSame(
    rig.inventory.gpus.map(({ index, uuid }) => [index, uuid]),
    [[0, uuidOf(1)]],
  );
});

t.test('the operator takes a GPU out of use and lets a faulty one in', async (t) => {
  const rig = new GpuRig(t);
  const list = (): string => carryOut({ verb: 'list' }, rig.folder);
  t.match(list(), /no GPU is known/);
  t.throws(() => carryOut({ verb: 'in', device: '0' }, rig.folder), { code: 'not-found' });
  rig.tool.prints(aPage());
  await rig.start();
  carryOut({ verb: 'out', device: '0', reason: 'fan is loud' }, rig.folder);
  await rig.untilFaults('it is out', ([fault]) => fault === 'taken out of use: fan is loud');
  t.match(list(), /fan is loud/);
  carryOut({ verb: 'in', device: uuidOf(0) }, rig.folder);
  await rig.untilFaults('it is in', ([fault]) => fault === undefined);
  const pending = '<remapped_rows><remapped_row_pending>Yes</remapped_row_pending></remapped_rows>';
  rig.tool.prints(aPage({ gpus: [aGpu({ more: pending })] }));
  await rig.untilFaults('it is faulty', ([fault]) => /memory row/.test(fault ?? ''));
  t.match(carryOut({ verb: 'in', device: '0' }, rig.folder), /in spite of/);
  await rig.untilFaults('it is in all the same', ([fault]) => fault === undefined);
  rig.tool.prints(aPage({ gpus: [aGpu({ more: '<compute_mode>Prohibited</compute_mode>' })] }));
  await rig.untilFaults('another fault counts', ([fault]) => /Prohibited/.test(fault ?? ''));
});

t.test('discover prints all that the machine would report, whatever the tool does', async (t) => {
  const { tool, folder } = new GpuRig(t);
  const discover = async (...flags: string[]) => {
    const argv = [process.execPath, BERTH_ENTRY, 'agent', 'discover', '--gpu-time-limit', '1s', ...flags];
    const env = { PATH: `${join(folder, 'bin')}:/usr/bin:/bin`, HOME: folder };
    const { exitCode, stdout, stderr } = await runCommand(argv, { env });
    t.equal(exitCode, 0, stderr);
    return stdout;
  };
  tool.prints(aPage({ gpus: [aGpu(), aGpu({ number: 1, slices: [aSlice({ position: 0, instance: 3 })] })] }));
  const report = JSON.parse(await discover('-o', 'json'));
  t.match(report, {
    ...{ cpus: Number, memoryMiB: Number, diskMiB: Number, drivers: ['process'], isolation: { cgroup: String } },
    ...{ driverVersion: '571.20', cudaVersion: '12.9', versions: { berth: String, node: process.versions.node } },
    gpus: [
      {
        ...{ index: 0, uuid: uuidOf(0), model: 'NVIDIA Test 40GB', memoryMiB: 40_960, migDevices: [], healthy: true },
        ...{
          driverVersion: '571.20',
          cudaVersion: '12.9',
          computeMode: 'Default',
          temperatureC: 41,
          powerWatts: 123.45,
        },
        ...{ utilizationPercent: 35, processes: [{ pid: 4_000, name: 'python & co', memoryMiB: 900 }], faults: [] },
      },
      { index: 1, migDevices: [{ index: 2_030, profile: '1g.5gb', memoryMiB: 4_864, healthy: true }] },
    ],
  });
  t.match(await discover('-o', 'table'), /MIG 1g\.5gb +4864MiB/);
  tool.hangs();
  t.match(JSON.parse(await discover()), { gpus: [], gpuProblem: /did not answer/ });
  t.match(JSON.parse(await discover('--gpus', '2')), { gpus: [{ uuid: 'gpu-0' }, { uuid: 'gpu-1' }] });
});

/** Pids of processes whose command line names the program. */
function processesNaming(program: string): string[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name) && commandLine(name).includes(program));
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}
