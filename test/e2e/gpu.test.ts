import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { GpuSample } from '../../shared/wire/messages.js';
import { startCluster } from '../kit/cluster.js';
import { aGpu, aPage, aSlice, uuidOf } from '../kit/nvidia-pages.js';
import { StandIn } from '../kit/stand-in.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { until } from '../kit/until.js';

// Real daemons and tasks; only nvidia-smi is a stand-in.
const healthy = aPage({ gpus: [aGpu(), aGpu({ number: 1, slices: [aSlice({ position: 0, instance: 5 })] })] });
const slices = `GPU 1: NVIDIA Test 40GB (UUID: ${uuidOf(1)})\n  MIG 1g.5gb      Device  0: (UUID: MIG-c0ffee)\n`;
const tool = new StandIn(join(temporaryFolder(t), 'bin'));
tool.prints(healthy, slices);
const cluster = await startCluster({ agentFlags: ['--nvidia-smi', tool.program, '--gpu-period', '1s'] });
t.teardown(() => cluster.stop());
const { berth, api, folder } = cluster;

interface NodeDocument {
  readonly gpus: readonly { readonly index: number; readonly fault?: string; readonly sample?: GpuSample }[];
  readonly free: { readonly gpuCount: number };
}
const node = (): Promise<NodeDocument> => api.json('GET', '/v1/nodes/n1');
const shows = ['--', 'sh', '-c', 'echo $CUDA_VISIBLE_DEVICES'];

t.test('a GPU and a slice are found and given to tasks by their UUIDs', async (t) => {
  t.match(await node(), {
    gpus: [
      { index: 0, uuid: uuidOf(0), model: 'NVIDIA Test 40GB', memoryMiB: 40_960 },
      { index: 2_050, uuid: 'MIG-c0ffee', mig: '1g.5gb', memoryMiB: 4_864 },
    ],
    attributes: { nvidiaDriver: '571.20', cuda: '12.9' },
  });
  t.match(await berth(['run', '--gpus', '1', ...shows]), { stdout: `${uuidOf(0)}\n` });
  t.match(await berth(['run', '--gpu-mig', '1g.5gb', ...shows]), { stdout: 'MIG-c0ffee\n' });
  await until('a heartbeat has brought samples', async () => (await node()).gpus[0]?.sample !== undefined);
  t.match((await node()).gpus[0]?.sample, { utilizationPercent: 35, temperatureC: 41, powerWatts: 123 });
  t.match(await berth(['nodes', 'n1']), { stdout: /35% +41C +123W/ });
});

t.test('an attempt tells what it used of its GPU, and one without a GPU nothing of any', async (t) => {
  const release = join(folder, 'measured');
  const script = `touch ${release}.begun; until test -e ${release}; do sleep 0.1; done`;
  const held = (await berth(['run', '-d', '--gpus', '1', '--', 'sh', '-c', script])).stdout.trim();
  await until('it runs', () => existsSync(`${release}.begun`));
  const busy = '<fb_memory_usage><total>40960 MiB</total><used>5120 MiB</used></fb_memory_usage>';
  tool.prints(aPage({ gpus: [aGpu({ more: busy }), aGpu({ number: 1, slices: [] })] }));
  await until('that was seen', async () => (await node()).gpus[0]?.sample?.memoryUsedMiB === 5_120);
  writeFileSync(release, '');
  t.match(await berth(['wait', held]), { exitCode: 0 });
  t.match(await berth(['show', `${held}.0`]), { stdout: /GPU MEMORY +GPU BUSY[\s\S]* 5GiB +35%/ });
  t.match(await berth(['run', '--', 'true']), { exitCode: 0 });
  t.notMatch((await berth(['show', 'last.0'])).stdout, /GPU (MEMORY|BUSY)/);
  tool.prints(healthy, slices);
  await until('the slice is back', async () => (await node()).gpus.every(({ fault }) => fault === undefined));
});

t.test('a GPU that turns bad is out of use while its task goes on, until the operator lets it in', async (t) => {
  const release = join(folder, 'go');
  const submitted = await berth([
    'run',
    '-d',
    '--gpus',
    '1',
    '--',
    'sh',
    '-c',
    `until test -e ${release}; do sleep 0.1; done`,
  ]);
  const jobId = submitted.stdout.trim();
  await until('it runs', async () => (await berth(['ls'])).stdout.includes('running'));
  const sick = aGpu({ more: '<gpu_recovery_action>Drain and Reset</gpu_recovery_action>' });
  tool.prints(aPage({ gpus: [sick, aGpu({ number: 1, slices: [aSlice({ position: 0, instance: 5 })] })] }), slices);
  await until('the fault is known', async () => (await node()).gpus[0]?.fault !== undefined);
  t.match(await berth(['nodes', 'n1']), { stdout: /the driver asks for: Drain and Reset/ });
  const waiting = (await berth(['run', '-d', '--gpus', '1', '--', 'true'])).stdout.trim();
  writeFileSync(release, '');
  t.match(await berth(['wait', jobId]), { exitCode: 0 }, 'the task that ran on it is none the worse');
  t.match(await berth(['why', waiting]), { stdout: /out of use/ });
  const stateDir = join(folder, 'n1');
  t.match(await berth(['agent', 'gpu', 'list', '--state-dir', stateDir]), { stdout: /Drain and Reset/ });
  t.match(await berth(['agent', 'gpu', 'in', '0', '--state-dir', stateDir]), { exitCode: 0, stdout: /in spite of/ });
  t.match(await berth(['wait', waiting]), { exitCode: 0 });
  t.match(await berth(['agent', 'gpu', 'out', '9', 'why', '--state-dir', stateDir]), { exitCode: 64, stderr: /GPU 9/ });
});

t.test('an agent whose nvidia-smi hangs keeps its node, its GPUs and its work', async (t) => {
  tool.hangs();
  const [agent] = cluster.agents;
  await agent?.kill();
  const startedAt = Date.now();
  await agent?.start();
  t.ok(Date.now() - startedAt < 10_000, `ready after ${Date.now() - startedAt} ms`);
  t.equal((await node()).gpus.length, 2);
  t.match(await berth(['run', '--', 'echo', 'hello']), { exitCode: 0, stdout: 'hello\n' });
  t.equal(await agent?.stop(), 0, 'and it stops when asked');
});
