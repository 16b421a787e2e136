import { readFileSync } from 'node:fs';
import { basename, dirname, join as joined, resolve } from 'node:path';
import t, { type Test } from 'tap';
import type { InstanceProvider } from '../../coordinator/elastic/provider.js';
import { dockerProvider } from '../../coordinator/elastic/providers/docker/docker-provider.js';
import type { InstanceId, NodeId } from '../../shared/ids.js';
import { instanceProviderConformance, type ProviderBench } from '../conformance/instance-provider.js';
import { startCluster } from '../kit/cluster.js';
import { type DockerDaemon, dockerTests, startDocker } from '../kit/docker.js';
import { dieCreating } from '../kit/dying-coordinator.js';
import { aMachineOrder, aProviderWorld } from '../kit/machines.js';
import { poolStory } from '../kit/pool-story.js';
import { until } from '../kit/until.js';

const signal = new AbortController().signal;
/** A machine that does nothing, and leaves at once when it is told to. */
const IDLE = ['/bin/sh', '-c', 'exec sleep 1000', 'agent'];
/** Real agents: this machine's Node and this checkout, in an image that has neither. */
const MOUNTS = ['/usr:/usr:ro', '/lib:/lib:ro', '/lib64:/lib64:ro', `${dirname(process.execPath)}:/node:ro`];
const ENTRY = resolve('build/scripts/entry.js');
const REAL = {
  command: [`/node/${basename(process.execPath)}`, ENTRY, 'agent'],
  mounts: [...MOUNTS, `${process.cwd()}:${process.cwd()}:ro`],
  network: 'host',
};

t.setTimeout(300_000);

t.test('docker', dockerTests, async (t) => {
  const daemon = startDocker(t);
  t.test('every promise', async (t) => instanceProviderConformance(t, async (t) => dockerBench(t, daemon)));
  t.test('its machines are nodes, and nodes again after a pause and after a stop', async (t) => realAgents(t, daemon));
  t.test('a pool of containers lives through two bursts', async (t) => {
    const provider = { kind: 'docker', ...settingsFor(daemon, REAL) };
    const count = (): number => daemon.docker('ps', '-aq').split('\n').filter(Boolean).length;
    await poolStory(t, { provider, node: { cpus: 2, memory: '512MiB' }, limitMs: 120_000, count });
  });
  t.test('what is wrong is named, and leaves no machine', async (t) => wrongs(t, daemon));
});

async function realAgents(t: Test, daemon: DockerDaemon): Promise<void> {
  const cluster = await startCluster({ agents: 0 });
  t.teardown(() => cluster.stop());
  const token = readFileSync(joined(cluster.stateDir, 'agent.token'), 'utf8').trim();
  for (const suspendBy of ['pause', 'stop']) {
    const provider = open(daemon, { suspendBy, ...REAL });
    const nodeId = `by-${suspendBy}` as NodeId;
    const labels = { pool: 'small', by: suspendBy };
    const join = { url: cluster.url, ca: 'certificates', token };
    const order = aMachineOrder({ instanceId: suspendBy as InstanceId, nodeId, labels, join });
    const { ref } = await provider.create(order, signal);
    const node = () => cluster.api.json<{ state?: string }>('GET', `/v1/nodes/${nodeId}`).catch(() => undefined);
    await until('its node is ready', async () => (await node())?.state === 'ready');
    t.match(await node(), { capacity: { cpuMillis: 2_000, memoryMiB: 512 }, labels });
    await provider.suspend(ref, signal);
    await until('suspended', async () => (await provider.list('lab', signal))[0]?.state === 'suspended');
    await provider.resume(ref, signal);
    const place = ['--constraint', `label:by=${suspendBy}`, '--memory', '64MiB'];
    const job = await cluster.berth(['run', '--wait', ...place, '--', 'sh', '-c', 'exit 3']);
    t.equal(job.exitCode, 3, job.stderr);
    const inspected = daemon.docker('inspect', '--format', '{{.Config.Env}} {{.Config.Cmd}}', ref);
    t.notMatch(inspected, token, 'whoever may look at the container does not see the token');
    t.match(inspected, '--ca-file /berth-ca.pem');
    t.equal(daemon.docker('exec', ref, 'cat', '/berth-ca.pem'), join.ca);
    await provider.terminate(ref, signal);
  }
}

async function wrongs(t: Test, daemon: DockerDaemon): Promise<void> {
  const create = (settings: Readonly<Record<string, unknown>>) =>
    open(daemon, settings).create(aMachineOrder(), signal);
  const noImage = open(daemon, { image: 'nowhere:1' });
  await t.rejects(noImage.check(signal), { fault: 'configuration', message: /image: "nowhere:1" is not here; run/ });
  await t.rejects(noImage.create(aMachineOrder(), signal), { fault: 'configuration', message: /nowhere:1/ });
  await t.rejects(create({ network: 'atlantis' }), { fault: 'configuration', message: /atlantis/ });
  await t.rejects(create({ socket: '/nowhere.sock' }), { fault: 'unavailable', message: /nowhere.sock/ });
  t.equal(daemon.docker('ps', '-aq'), '', 'no container is left of them');

  daemon.docker('create', '--name', 'berth-lab-i1', 'busybox:local', 'true');
  await t.rejects(create({}), { fault: 'configuration', message: /berth-lab-i1 is there that is not ours/ });
  daemon.docker('rm', 'berth-lab-i1');
  t.throws(() => dockerProvider({ suspendBy: 'stopp', mounts: ['a:b'] }, aProviderWorld('/nowhere')), {
    message: [
      'provider docker: image: it is missing; write the name of an image with Berth in it, such as "registry.lab/berth:1"',
      'provider docker: mounts: "a:b" is no mount; write "SOURCE:/TARGET:ro"',
      'provider docker: suspendBy: "stopp" is none of stop, pause; did you mean "stop"?',
    ].join('\n'),
  });
}

function settingsFor(daemon: DockerDaemon, more: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return { image: 'busybox:local', command: IDLE, socket: `unix://${daemon.socketPath}`, network: 'none', ...more };
}

function open(daemon: DockerDaemon, more: Readonly<Record<string, unknown>> = {}): InstanceProvider {
  return dockerProvider(settingsFor(daemon, more), aProviderWorld(daemon.folder));
}

function dockerBench(t: Test, daemon: DockerDaemon): ProviderBench {
  const ids = (): string[] => daemon.docker('ps', '-aq').split('\n').filter(Boolean);
  t.teardown(() => ids().forEach((id) => void daemon.docker('rm', '-f', id)));
  return {
    open: () => open(daemon),
    order: aMachineOrder(),
    vanish: async (ref) => void daemon.docker('rm', '-f', ref),
    count: async () => ids().length,
    deaths: {
      'before its start': async ({ cluster, instanceId, pool }) => {
        const labels = [`cluster=${cluster}`, `instance=${instanceId}`, `pool=${pool}`];
        const flags = labels.flatMap((label) => ['--label', `berth.${label}`]);
        const name = `berth-${cluster}-${instanceId}`;
        daemon.docker('create', '--name', name, ...flags, 'busybox:local', 'sleep', '1000');
      },
      'at any moment': (order) => {
        const settings = settingsFor(daemon, {});
        return dieCreating(order, { kind: 'docker', settings, stateDir: daemon.folder, afterMs: 150 });
      },
    },
  };
}
