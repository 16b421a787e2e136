import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type Cluster, startCluster } from '../kit/cluster.js';
import { type DockerDaemon, dockerTests, startDocker } from '../kit/docker.js';
import { type Registry, startRegistry } from '../kit/registry.js';
import { until } from '../kit/until.js';

interface Scene {
  readonly daemon: DockerDaemon;
  readonly berth: Cluster['berth'];
  readonly api: Cluster['api'];
  readonly folder: string;
  readonly registry: Registry;
  /** Writes a file and returns its path. */
  file(name: string, text: string): string;
}

const MIB = 1024 ** 2;

// Containers are slow to start on a busy machine.
t.setTimeout(300_000);

t.test('jobs in containers, through the real programs and a real Docker daemon', dockerTests, async (t) => {
  const daemon = startDocker(t);
  const registry = await startRegistry(t);
  const volumes = ['--volumes', 'scans=FOLDER/scans', '--volumes', 'fast=tmpfs=1MiB'];
  const login = ['--registry-credentials', registry.credentialsFile];
  const docker = ['--docker-host', `unix://${daemon.socketPath}`, ...login];
  const cluster = await startCluster({ agentFlags: [...docker, ...volumes] });
  t.teardown(() => cluster.stop());
  const { berth, api, folder } = cluster;
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  for (const [title, run] of Object.entries(STORIES))
    t.test(title, (t) => run(t, { daemon, berth, api, folder, registry, file }));
});

const STORIES: Readonly<Record<string, (t: Test, scene: Scene) => Promise<void>>> = {
  'a command runs in its image, with its arguments as they were given': async (t, { berth, api }) => {
    t.match(await berth(['run', '--image', 'busybox:local', '--', 'echo', 'hi']), { exitCode: 0, stdout: 'hi\n' });
    const { jobs } = await api.json<{ jobs: readonly { id: string }[] }>('GET', '/v1/jobs');
    const [task] = await api.tasks(jobs[0]?.id ?? '');
    t.match(
      await berth(['show', task?.id ?? '']),
      { stdout: /IMAGE[\s\S]* sha256:[0-9a-f]{12} / },
      'and the image is on record',
    );
    const strange = ['two words', '$HOME', '"', "it's", '*', 'ü\nline', ''];
    const result = await berth(['run', '--image', 'busybox:local', '--', 'printf', '[%s]', ...strange]);
    t.equal(result.stdout, strange.map((argument) => `[${argument}]`).join(''), result.stderr);
    t.match(await berth(['run', '--wait', '--image', 'busybox:local', '--', 'sh', '-c', 'exit 7']), { exitCode: 7 });
  },

  'a script runs inside, by its #! line': async (t, { berth, file }) => {
    const script = '#!/bin/awk -f\nBEGIN { print "awk", ARGV[1] }\n';
    const job = file('awk.yaml', JSON.stringify({ image: 'busybox:local', script, args: ['x'] }));
    t.match(await berth(['submit', job, '--wait']), { exitCode: 0 });
    t.match(await berth(['logs', 'last']), { stdout: 'awk x\n' });
  },

  'files go into a container and come out of it, whoever its user is': async (t, { berth, folder, file }) => {
    mkdirSync(join(folder, 'scans', 'lung'), { recursive: true });
    writeFileSync(join(folder, 'scans', 'lung', 'list'), 'scan\n');
    chmodSync(join(folder, 'scans', 'lung'), 0o777);
    const script = `#!/bin/sh
      set -e
      pwd; id -u; cat in/note /lung/list lung/list; wc -c <"$BERTH_VOLUME_FAST"/../in/note
      for place in /lung lung; do touch $place/new 2>/dev/null || echo read-only; done
      echo memory >fast/file; cat fast/file
      echo made by $(id -u) >in/made; chmod 600 in/made`;
    const step = {
      ...{ image: 'busybox:local', script, outputs: [{ path: 'in/made', required: true }] },
      inputs: [{ content: 'note\n', to: 'in/note', mode: '0600' }],
      volumes: [
        { name: 'scans', mount: '/lung', subpath: 'lung' },
        { name: 'scans', mount: 'lung', subpath: 'lung' },
        { name: 'fast', mount: 'fast', readOnly: false },
      ],
    };
    for (const [user, container] of [
      ['0', {}],
      ['1234', { user: '1234:99', readOnly: true }],
    ] as const) {
      const result = await berth(['submit', file('files.yaml', JSON.stringify({ ...step, container })), '--wait']);
      t.equal(result.exitCode, 0, result.stderr);
      t.match(await berth(['logs', 'last']), {
        stdout: `/workspace\n${user}\nnote\nscan\nscan\n5\nread-only\nread-only\nmemory\n`,
      });
      t.match(await berth(['get', 'last', '-o', '-']), { stdout: `made by ${user}\n` });
    }
    await until('the workspaces are gone', () => readdirSync(join(folder, 'n1', 'staging')).length === 0);
  },

  'how far a pull is can be seen while it goes on': async (t, { daemon, berth, api, registry }) => {
    const image = await registry.publish(daemon, 'large:1', 8 * MIB);
    registry.layerBytes = 0;
    const submitted = await berth(['run', '-d', '--image', image, '--', 'cat', '/what']);
    const jobId = submitted.stdout.trim();
    const task = async () => (await api.tasks(jobId))[0];
    const bytes = async (): Promise<number> => {
      const preparation = (await task())?.preparation;
      return preparation?.kind === 'pulling' ? preparation.bytes : -1;
    };
    await until('the pull has begun', async () => (await bytes()) >= 0);
    // Of a burst Docker tells the beginning only.
    await until('much is there', async () => {
      registry.layerBytes += MIB / 8;
      return (await bytes()) > MIB;
    });
    t.match(await task(), { state: 'placed', preparation: { kind: 'pulling', image, totalBytes: Number } });
    const told = new RegExp(`preparing: pulling ${image} [1-9](\\.\\d)?MiB of 8(\\.\\d)?MiB`);
    t.match(await berth(['ls']), { stdout: told });
    t.match(await berth(['show', `${jobId}.0`]), { stdout: told });
    registry.layerBytes = Number.POSITIVE_INFINITY;
    t.match(await berth(['wait', jobId]), { exitCode: 0 });
    t.match(await berth(['logs', jobId]), { stdout: 'large:1\n' });
    t.equal((await task())?.preparation, undefined);
    const { stdout } = await berth(['events', '--after', '0', '-o', 'jsonl']);
    const own = stdout.split('\n').filter((line) => line.includes(`"${jobId}.0#1"`));
    const types = own.map((line) => (JSON.parse(line) as { type: string }).type.replace('allocation.', ''));
    t.strictSame(types, ['committed', 'preparing', 'started', 'ended'], 'samples are no events');
  },

  'a secret comes to a container as a variable and as a file': async (t, { berth }) => {
    t.match(await berth(['secrets', 'set', 'token'], { input: 'hush\n' }), { exitCode: 0 });
    const flags = ['--image', 'busybox:local', '--secret', 'token=env:TOKEN', '--secret', 'token=file:token.txt'];
    const result = await berth([
      'run',
      ...flags,
      '--',
      'sh',
      '-c',
      'cat "$BERTH_SECRETS_DIR/token.txt"; echo "$TOKEN"',
    ]);
    t.match(result, { exitCode: 0, stdout: 'hushhush\n' });
  },

  'a task over its memory limit says so': async (t, { berth }) => {
    const eat = 'head -c 200m /dev/zero | tail -c 200m >/dev/null; exit $?';
    const args = ['run', '--wait', '--image', 'busybox:local', '--memory', '32MiB', '--', 'sh', '-c', `${eat}`];
    const result = await berth(args);
    t.equal(result.exitCode, 137, result.stderr);
    t.match(await berth(['show', 'last']), { stdout: /memory limit/ });
  },

  'what the node does not allow is refused by name': async (t, { berth }) => {
    const job = ['run', '--wait', '--retry', '1', '--network', 'host', '--image', 'busybox:local', '--', 'true'];
    t.match(await berth(job), { exitCode: 125 });
    t.match(await berth(['show', 'last']), { stdout: /host-network/ });
  },

  'a canceled container is gone, and so is one whose job is over': async (t, { daemon, berth }) => {
    const submitted = await berth(['run', '-d', '--image', 'busybox:local', '--', 'sleep', '1000']);
    const jobId = submitted.stdout.trim();
    await until('the container runs', () => daemon.docker('ps', '-q').trim() !== '');
    t.match(await berth(['cancel', jobId, '--reason', 'test']), { exitCode: 0 });
    t.match(await berth(['wait', jobId]), { exitCode: 130 });
    await until('no container is left', () => daemon.docker('ps', '-aq').trim() === '');
  },

  'what is submitted while the only Docker is away waits for it, and says so': async (t, { daemon, berth, api }) => {
    daemon.kill();
    await until('the node has no Docker', async () => !(await driversOf(api)).includes('docker'));
    const submitted = await berth(['run', '-d', '--image', 'busybox:local', '--', 'echo', 'back']);
    t.equal(submitted.exitCode, 0, submitted.stderr);
    const jobId = submitted.stdout.trim();
    t.match(await berth(['why', jobId]), { stdout: /n1: its docker is away since \d{4}-\d\d-\d\dT[\d:]+Z/ });
    daemon.restart();
    t.match(await berth(['wait', jobId]), { exitCode: 0 });
    t.match(await berth(['logs', jobId]), { stdout: 'back\n' });
  },
};

async function driversOf(api: Cluster['api']): Promise<readonly string[]> {
  return (await api.json<{ drivers: readonly string[] }>('GET', '/v1/nodes/n1')).drivers;
}
