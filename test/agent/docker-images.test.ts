import { chmodSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { openEngine } from '../../agent/driver/docker/engine.js';
import { ImageKeeper } from '../../agent/driver/docker/image-keeper.js';
import { Images } from '../../agent/driver/docker/images.js';
import { credentialsIn, registryOf, withTag } from '../../agent/driver/docker/registry.js';
import { type Clock, systemClock } from '../../shared/clock.js';
import type { AllocationId } from '../../shared/ids.js';
import { silentLog } from '../../shared/log.js';
import { Watched } from '../conformance/task-driver.js';
import { type DockerDaemon, dockerTests, startDocker } from '../kit/docker.js';
import { dockerBench } from '../kit/docker-bench.js';
import { ManualClock } from '../kit/manual-clock.js';
import { type Registry, startRegistry } from '../kit/registry.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { until } from '../kit/until.js';

// Containers are slow to start on a busy machine.
t.setTimeout(300_000);

// A driver keeps no process alive by itself.
const keepAlive = setInterval(() => {}, 60_000);
t.teardown(() => clearInterval(keepAlive));

const id = (sequence: number): AllocationId => `j${sequence}.0#1` as AllocationId;

t.test('an image without a tag is its latest, and its first part may name a registry', async (t) => {
  for (const [image, full, registry] of [
    ['python', 'python:latest', 'docker.io'],
    ['python:3', 'python:3', 'docker.io'],
    ['lab/python', 'lab/python:latest', 'docker.io'],
    ['lab.org/python', 'lab.org/python:latest', 'lab.org'],
    ['lab:5000/a/b', 'lab:5000/a/b:latest', 'lab:5000'],
    ['localhost/a@sha256:0', 'localhost/a@sha256:0', 'localhost'],
  ] as const) {
    t.strictSame([withTag(image), registryOf(image)], [full, registry]);
  }
});

t.test('credentials are read by registry, and never from a file that others can read', async (t) => {
  const path = join(temporaryFolder(t), 'credentials.json');
  const write = (text: string): void => writeFileSync(path, text, { mode: 0o600 });
  write('{"a:5000": {"username": "u", "password": "hush"}, "b": {"username": "u"}}');
  const read = credentialsIn(path);
  t.strictSame(read('a:5000'), { username: 'u', password: 'hush' });
  t.equal(read('c'), undefined);
  t.throws(() => read('b'), { code: 'invalid-request', message: /"b" needs a "username" and a "password"/ });
  chmodSync(path, 0o644);
  t.throws(() => read('a:5000'), { message: /chmod 600/ });
  chmodSync(path, 0o600);
  write('{hush');
  t.throws(() => read('a:5000'), { message: /^registry credentials [^ ]+: it is no JSON$/ });
  t.throws(() => credentialsIn('/no/such/file')('a'), { message: /ENOENT/ });
});

t.test('against a real registry with a password', dockerTests, async (t) => {
  const daemon = startDocker(t);
  const registry = await startRegistry(t);
  for (const [title, run] of Object.entries(STORIES)) t.test(title, (t) => run(t, { daemon, registry }));
});

interface Scene {
  readonly daemon: DockerDaemon;
  readonly registry: Registry;
}

interface DriverParts {
  readonly password?: string;
  readonly imageHighWaterPercent?: number;
}

async function driverFor(t: Test, { daemon, registry }: Scene, parts: DriverParts = {}) {
  const { host, username } = registry;
  const { password = registry.password, ...more } = parts;
  const credentials = (asked: string) => (asked === host ? { username, password } : undefined);
  const bench = dockerBench(t, daemon, { credentials, ...more });
  const watched = await Watched.open(bench.factory);
  t.teardown(() => watched.driver.close());
  await watched.driver.recover([]);
  return { bench, watched };
}

const MIB = 1024 ** 2;

async function imagesOf(t: Test, { daemon, registry }: Scene, clock: Clock): Promise<Images> {
  const { username, password } = registry;
  const base = { docker: await openEngine(daemon.socketPath), clock, log: silentLog };
  const path = join(temporaryFolder(t), 'images.json');
  const keeper = new ImageKeeper({ ...base, path, highWaterPercent: 100 });
  return new Images({ ...base, keeper, credentials: () => ({ username, password }) });
}

const STORIES: Readonly<Record<string, (t: Test, scene: Scene) => Promise<void>>> = {
  'attempts that wait for one image share its pull': async (t, scene) => {
    const image = await scene.registry.publish(scene.daemon, 'shared:1');
    const { bench, watched } = await driverFor(t, scene);
    scene.registry.layerRequests = 0;
    for (const one of [1, 2, 3]) await watched.driver.start(bench.shell(id(one), 'cat /what', { image }));
    for (const one of [1, 2, 3]) t.match((await watched.ended(id(one))).end, { kind: 'exited', exitCode: 0 });
    t.equal(Buffer.from(await watched.driver.read(id(3), 'stdout', 0, 99)).toString(), 'shared:1\n');
    t.ok(scene.registry.layerRequests <= 3, `${scene.registry.layerRequests} requests: configuration and two layers`);
  },

  'a wrong password is the node’s trouble, an image that is nowhere the order’s': async (t, scene) => {
    const image = await scene.registry.publish(scene.daemon, 'secret:1');
    const wrong = await driverFor(t, scene, { password: 'wrong' });
    await wrong.watched.driver.start(wrong.bench.shell(id(1), 'true', { image }));
    t.match((await wrong.watched.ended(id(1))).end, { kind: 'rejected', message: /could not be pulled/ });
    const right = await driverFor(t, scene);
    await right.watched.driver.start(right.bench.shell(id(1), 'true', { image: `${scene.registry.host}/no/such:1` }));
    t.match((await right.watched.ended(id(1))).end, {
      kind: 'start-failed',
      message: /no\/such:1 could not be pulled/,
    });
    const registryAuth = { username: 'ann', password: scene.registry.password };
    await wrong.watched.driver.start(wrong.bench.shell(id(2), 'true', { image, registryAuth }));
    t.match((await wrong.watched.ended(id(2))).end, { kind: 'exited' }, 'credentials of the order go first');
  },

  'a stop during a pull ends its attempt at once, and the others still get the image': async (t, scene) => {
    const image = await scene.registry.publish(scene.daemon, 'slow:1');
    const { bench, watched } = await driverFor(t, scene);
    scene.registry.layerBytes = 0;
    scene.registry.layerRequests = 0;
    await watched.driver.start(bench.shell(id(1), 'true', { image }));
    await watched.driver.start(bench.shell(id(2), 'true', { image }));
    await until('the pull has begun', () => scene.registry.layerRequests > 0);
    await watched.driver.signal(id(1), 'SIGTERM');
    t.match((await watched.ended(id(1))).end, { kind: 'signaled', signal: 'SIGTERM', ranMs: 0 });
    scene.registry.layerBytes = Number.POSITIVE_INFINITY;
    t.match((await watched.ended(id(2))).end, { kind: 'exited' }, 'the other one still gets its image');
  },

  'a pull is given up when nothing has come for two minutes, however long it took before': async (t, scene) => {
    const { daemon, registry } = scene;
    const image = await registry.publish(daemon, 'stalled:1', 8 * MIB);
    const clock = new ManualClock();
    const images = await imagesOf(t, scene, clock);
    let bytes = 0;
    const ready = () =>
      images.ready({
        image,
        ...{ pull: 'missing', signal: new AbortController().signal },
        progress: (progress) => {
          bytes = progress.bytes;
        },
      });
    registry.layerBytes = 0;
    const stalled = ready().then(
      () => 'ready',
      (error: Error) => error.message,
    );
    for (const _ of [1, 2, 3]) {
      const before = bytes;
      await until('more is there', () => {
        // Of a burst Docker tells the beginning only.
        registry.layerBytes += MIB / 32;
        return bytes > before;
      });
      await clock.advance(119_000);
    }
    await clock.advance(120_000);
    t.equal(await stalled, `the pull of ${image} made no progress for 120 s`);
    registry.layerBytes = Number.POSITIVE_INFINITY;
    t.match(await ready(), { digest: /@sha256:/ }, 'and the next attempt begins anew');
  },

  'a registry that takes calls and never answers is given up too': async (t, scene) => {
    let callCount = 0;
    const silent = createServer(() => {
      callCount += 1;
    });
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    t.teardown(() => silent.close());
    const image = `127.0.0.1:${(silent.address() as AddressInfo).port}/nothing:1`;
    const clock = new ManualClock();
    const images = await imagesOf(t, scene, clock);
    const { signal } = new AbortController();
    const stalled = images.ready({ image, pull: 'missing', signal, progress: () => {} });
    await until('the registry is asked', () => callCount > 0);
    const refused = t.rejects(stalled, { whose: 'node', message: /made no progress for 120 s/ });
    await clock.advance(120_000);
    await refused;
  },

  'the pull policy decides when the registry is asked': async (t, scene) => {
    const image = await scene.registry.publish(scene.daemon, 'policy:1');
    const { host } = scene.registry;
    const images = await imagesOf(t, scene, systemClock);
    const { signal } = new AbortController();
    let progressed = 0;
    const ready = (pull: 'missing' | 'newer' | 'always' | 'never', name = image) =>
      images.ready({ image: name, pull, signal, progress: () => (progressed += 1) });
    await t.rejects(ready('never'), { whose: 'node', message: /is not on this node/ });
    const first = await ready('missing');
    t.match(first.digest, new RegExp(`^${host}/policy@sha256:[0-9a-f]{64}$`));
    t.ok(progressed > 0, 'progress is told');
    await scene.registry.publish(scene.daemon, 'policy:1');
    const [again] = [await ready('newer')];
    t.not(again.digest, first.digest, 'the registry has a newer one');
    t.strictSame(await ready('never'), again);
    t.strictSame(await ready('missing'), again);
    const local = await ready('newer', 'busybox:local');
    t.match(local.digest, /^sha256:/, 'what no registry has is used as it is');
    await t.rejects(ready('always', `${host}/gone:1`), { whose: 'order', message: /could not be pulled/ });
  },

  'a full disk loses images that the agent pulled and nobody uses, the longest unused first': async (t, scene) => {
    const { daemon, registry } = scene;
    const names = ['old:1', 'older:1', 'used:1', 'stopped:1', 'named:1', 'held:1', 'theirs:1', 'last:1'];
    const images = new Map<string, string>();
    for (const name of names) images.set(name, await registry.publish(daemon, name));
    const imageOf = (name: string): string => images.get(name) ?? '';
    const here = (): string[] => {
      const tags = daemon.docker('images', '--format', '{{.Repository}}:{{.Tag}}').split('\n');
      return names.filter((name) => tags.includes(imageOf(name)));
    };
    daemon.docker('tag', 'busybox:local', imageOf('theirs:1'));
    const base = { docker: await openEngine(daemon.socketPath), clock: systemClock, log: silentLog };
    let full = 50;
    // One removal makes room.
    const sizes = (): number => (here().length < names.length && full < 100 ? 75 : full);
    const path = join(temporaryFolder(t), 'images.json');
    const keeperOf = () => new ImageKeeper({ ...base, path, highWaterPercent: 85, fullness: sizes });
    const before = keeperOf();
    const { username, password } = registry;
    const pulling = new Images({ ...base, keeper: before, credentials: () => ({ username, password }) });
    const { signal } = new AbortController();
    const use = async (name: string): Promise<() => void> => {
      const release = await pulling.hold(imageOf(name));
      await pulling.ready({ image: imageOf(name), pull: 'newer', signal, progress: () => {} });
      return release;
    };
    for (const name of names) (await use(name))();
    (await use('old:1'))();
    daemon.docker('run', '-d', '--name', 'user', imageOf('used:1'), 'sleep', '1000');
    daemon.docker('create', '--name', 'created', imageOf('stopped:1'), 'true');
    daemon.docker('tag', imageOf('named:1'), 'kept:local');
    const keeper = keeperOf();
    const release = await keeper.hold(imageOf('held:1'));
    full = 85;
    await keeper.collect();
    t.strictSame(here(), names, 'there is room yet');
    full = 86;
    await keeper.collect();
    t.strictSame(
      here(),
      names.filter((name) => name !== 'older:1'),
      'one was enough',
    );
    full = 1_000;
    await keeper.collect();
    t.strictSame(here(), ['used:1', 'stopped:1', 'named:1', 'held:1', 'theirs:1']);
    release();
    daemon.docker('rm', '-f', 'user', 'created');
    full = 1_000;
    await keeper.collect();
    t.strictSame(here(), ['named:1', 'theirs:1'], 'what somebody else named stays');
    t.match(daemon.docker('images', '--format', '{{.Repository}}'), /^busybox$/m);
  },

  'an image goes when its last attempt has gone, not before, and not at all while there is room': async (t, scene) => {
    const image = await scene.registry.publish(scene.daemon, 'passing:1');
    const isHere = (): boolean => scene.daemon.docker('images', '-q', image).trim() !== '';
    const full = await driverFor(t, scene, { imageHighWaterPercent: 0 });
    for (const one of [1, 2]) await full.watched.driver.start(full.bench.shell(id(one), 'exit 0', { image }));
    for (const one of [1, 2]) t.match((await full.watched.ended(id(one))).end, { kind: 'exited', exitCode: 0 });
    await full.watched.driver.remove(id(1));
    t.ok(isHere());
    await full.watched.driver.remove(id(2));
    await until('the image is gone', () => !isHere());
    const roomy = await driverFor(t, scene);
    await roomy.watched.driver.start(roomy.bench.shell(id(1), 'exit 0', { image }));
    t.match((await roomy.watched.ended(id(1))).end, { kind: 'exited', exitCode: 0 });
    await roomy.watched.driver.remove(id(1));
    t.ok(isHere());
  },
};
