import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { InstanceProvider, MachineState } from '../../coordinator/elastic/provider.js';
import { loadProvider } from '../../coordinator/elastic/provider-kinds.js';
import { machinesIn } from '../../coordinator/elastic/providers/libvirt/domain.js';
import { MachineFolders } from '../../coordinator/elastic/providers/process/machine-folders.js';
import { findProcesses, signalProcesses } from '../../coordinator/elastic/providers/process/machine-processes.js';
import { processProvider } from '../../coordinator/elastic/providers/process/process-provider.js';
import { startAgent } from '../../coordinator/elastic/providers/process/start-agent.js';
import { systemClock } from '../../shared/clock.js';
import { instanceProviderConformance, type ProviderBench } from '../conformance/instance-provider.js';
import { FakeCloud } from '../fakes/fake-provider.js';
import { startCluster } from '../kit/cluster.js';
import { dieCreating } from '../kit/dying-coordinator.js';
import { aMachineOrder, aProviderWorld } from '../kit/machines.js';
import { poolStory } from '../kit/pool-story.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { until } from '../kit/until.js';

const signal = new AbortController().signal;

t.setTimeout(300_000);

t.test('the fake', async (t) => {
  instanceProviderConformance(t, async () => {
    const cloud = new FakeCloud({ clock: systemClock });
    const unanswered = new AbortController();
    return {
      open: () => cloud.open(),
      order: aMachineOrder(),
      vanish: async (ref) => cloud.vanish(ref),
      count: async () => cloud.orders().length,
      deaths: {
        'before the answer': async (order) => {
          cloud.failNext('create', { kind: 'unanswered' });
          const created = cloud.open().create(order, unanswered.signal);
          unanswered.abort();
          await created.catch(() => {});
        },
      },
    };
  });
});

t.test('process', async (t) => instanceProviderConformance(t, async (t) => processBench(t)));

t.test('a process machine is a node of the size that was ordered, and its tasks end with it', async (t) => {
  const cluster = await startCluster({ agents: 0 });
  t.teardown(() => cluster.stop());
  const { open, folders } = processBench(t, cluster.folder);
  const token = readFileSync(join(cluster.stateDir, 'agent.token'), 'utf8').trim();
  const provider = open();
  const { ref } = await provider.create(aMachineOrder({ join: { url: cluster.url, ca: null, token } }), signal);
  const node = (): Promise<NodeAnswer> => cluster.api.json<NodeAnswer>('GET', '/v1/nodes/small-i1').catch(() => ({}));
  await until('its node is ready', async () => (await node()).state === 'ready');
  t.match(await node(), { capacity: { cpuMillis: 2_000, memoryMiB: 512, gpuCount: 0 }, labels: { pool: 'small' } });
  t.equal(statSync(join(folders.path(ref), 'join.token')).mode & 0o777, 0o600);

  const job = await cluster.berth([
    'run',
    '-d',
    '--memory',
    '64MiB',
    '--',
    'sh',
    '-c',
    'setsid sleep 1000 & exec sleep 1001',
  ]);
  t.equal(job.exitCode, 0, job.stderr);
  const programs = (): string[] =>
    findProcesses(folders.path(ref))
      .pids.map(commandOf)
      .filter((name) => /sleep/.test(name));
  await until('the task and its daemon run', () => programs().length === 2);

  await provider.suspend(ref, signal);
  const states = (): string => findProcesses(folders.path(ref)).pids.map(stateOf).sort().join('');
  await until('all of it is stopped', () => /^T+$/.test(states()));
  await provider.resume(ref, signal);
  const more = await cluster.berth(['run', '--wait', '--memory', '64MiB', '--', 'true']);
  t.equal(more.exitCode, 0, more.stderr);
  t.equal(programs().length, 2, 'what ran before goes on');

  const { pids } = findProcesses(folders.path(ref));
  await provider.terminate(ref, signal);
  await until('it is gone', async () => (await provider.list('lab', signal)).length === 0);
  t.strictSame(pids.map(commandOf).join(''), '', 'all its processes are gone');
});

t.test('a pool of process machines lives through two bursts', async (t) => {
  const agents = (): number =>
    readdirSync('/proc').filter((name) => /\0--name\0burst-/.test(commandOf(Number(name)))).length;
  const node = { cpus: 2, memory: '256MiB' };
  await poolStory(t, { provider: { kind: 'process' }, node, limitMs: 60_000, count: agents });
});

t.test('delays make process machines as slow as real ones, over a restart too', async (t) => {
  let now = 1_000;
  const clock = { ...systemClock, now: () => now };
  const { open } = processBench(t);
  const settings = { bootDelay: '60s', resumeDelay: '3s', offDelay: '2s' };
  const stateIs = async (state: MachineState | undefined): Promise<void> => {
    const machines = await open(settings, clock).list('lab', signal);
    t.equal(machines[0]?.state, state);
  };
  const { ref } = await open(settings, clock).create(aMachineOrder(), signal);
  await stateIs('starting');
  now += 60_000;
  await stateIs('running');
  await open(settings, clock).suspend(ref, signal);
  await stateIs('suspending');
  now += 2_000;
  await stateIs('suspended');
  await open(settings, clock).resume(ref, signal);
  await stateIs('starting');
  now += 3_000;
  await stateIs('running');
  await open(settings, clock).terminate(ref, signal);
  await stateIs('terminating');
  now += 2_000;
  await until('it is gone', async () => (await open(settings, clock).list('lab', signal)).length === 0);
});

t.test('a folder that a provider cannot have is a matter of configuration', async (t) => {
  const file = join(temporaryFolder(t), 'file');
  writeFileSync(file, '');
  await t.rejects(processProvider({}, aProviderWorld(file)).check(signal), {
    fault: 'configuration',
    message: /ENOTDIR/,
  });
});

t.test('machines are found in what virsh prints, by their names', (t) => {
  const listing = [
    ' 49   berth-berth-d8a6b927fde8-i1   running   burst',
    ' 50   berth-lab-i7                  running   burst',
    ' 51   berth-lab-i8                  paused    small',
    ' -    berth-lab-i12                 saved     burst',
    ' -    berth-lab-i13                 shut off   burst',
    ' -    berth-lab-2-i1                running   burst',
    ' -    berth-lab-web                 running',
    ' 52   web                           running',
  ].join('\n');
  t.strictSame(
    machinesIn(listing, 'lab', 'suspending').map(({ ref, pool, state }) => [ref, pool, state]),
    [
      ['berth-lab-i7', 'burst', 'running'],
      ['berth-lab-i8', 'small', 'suspending'],
      ['berth-lab-i12', 'burst', 'suspended'],
      ['berth-lab-i13', 'burst', 'suspended'],
    ],
  );
  t.end();
});

t.test('a wrong setting is named with its value and its remedy, all of them at once', async (t) => {
  const make = (): InstanceProvider =>
    processProvider({ bootDelay: 90, resumedelay: '1s', agentFlags: 'a b' }, aProviderWorld('/nowhere'));
  t.throws(make, {
    fault: 'configuration',
    message: [
      'provider process: resumedelay: unknown setting; did you mean "resumeDelay"?',
      'provider process: bootDelay: 90 has no unit; write 90s or 90m',
      'provider process: agentFlags: "a b" is no list of texts; write ["one", "two"]',
    ].join('\n'),
  });
});

t.test('a provider that does not exist is refused with the one that was meant', async (t) => {
  await t.rejects(loadProvider('proces'), {
    fault: 'configuration',
    message: 'there is no provider "proces"; did you mean "process"?',
  });
  await t.rejects(loadProvider('toString'), { fault: 'configuration', message: /write one of process/ });
});

interface NodeAnswer {
  readonly state?: string;
}

interface ProcessBench extends Omit<ProviderBench, 'open'> {
  readonly open: (settings?: Readonly<Record<string, unknown>>, clock?: typeof systemClock) => InstanceProvider;
  readonly folders: MachineFolders;
}

/** A folder whose machines all end with the test. */
function processBench(t: Test, parent = tmpdir()): ProcessBench {
  const stateDir = mkdtempSync(join(parent, 'berth-machines-'));
  const folders = new MachineFolders(join(stateDir, 'machines'));
  t.teardown(async () => {
    for (const ref of folders.refs()) {
      await until('its processes are gone', () => {
        const processes = findProcesses(folders.path(ref));
        signalProcesses(processes, 'SIGKILL');
        return processes.pids.length === 0;
      });
    }
    rmSync(stateDir, { recursive: true, force: true });
  });
  const environment = { PATH: process.env.PATH };
  const at = (ref: string): string => folders.path(ref);
  return {
    folders,
    order: aMachineOrder(),
    open: (settings = {}, clock = systemClock) => processProvider(settings, aProviderWorld(stateDir, { clock })),
    vanish: async (ref) => {
      const { agent } = findProcesses(at(ref));
      if (agent) process.kill(agent.pid, 'SIGKILL');
    },
    count: async () => folders.refs().filter((ref) => findProcesses(at(ref)).pids.length > 0).length,
    deaths: {
      'before its record': async (order) => {
        mkdirSync(join(at(MachineFolders.refOf(order)), 'tmp'), { recursive: true });
      },
      'before its process': async (order) => {
        folders.make(MachineFolders.refOf(order), order, { want: 'on', from: 0 });
      },
      'before the process was noted': async (order) => {
        const ref = MachineFolders.refOf(order);
        folders.make(ref, order, { want: 'on', from: 0 });
        startAgent({ folder: at(ref), order, moreFlags: [], environment });
      },
      'at any moment': (order) => dieCreating(order, { kind: 'process', settings: {}, stateDir, afterMs: 3 }),
    },
  };
}

/** One letter, T for a stopped one. */
function stateOf(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.charAt(stat.lastIndexOf(')') + 2);
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}
