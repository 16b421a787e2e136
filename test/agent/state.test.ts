import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { readAgentConfig } from '../../agent/config/config.js';
import { readToken } from '../../agent/config/credential-files.js';
import { readBootId, takeInventory } from '../../agent/discovery/inventory.js';
import { Sampler } from '../../agent/discovery/sampler.js';
import { FileAgentStore } from '../../agent/store/file-store.js';
import { accepted, stillborn } from '../../agent/supervise/attempts.js';
import { systemClock } from '../../shared/clock.js';
import { silentLog } from '../../shared/log.js';
import { systemRandom } from '../../shared/random.js';
import { ManualClock } from '../kit/manual-clock.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { fakeOrder, idOf } from './rig.js';

const base = { random: systemRandom, clock: systemClock };
const keepAlive = setInterval(() => {}, 60_000);
t.teardown(() => clearInterval(keepAlive));

t.test('the identity and the attempts survive, in files that are only ours', async (t) => {
  const folder = join(temporaryFolder(t), 'state');
  const first = new FileAgentStore(folder, base);
  const { identity, attempts } = await first.open();
  t.match(identity, /^[0-9a-f]{32}$/);
  t.equal(attempts.size, 0);
  const one = accepted(fakeOrder(idOf(1), { TEXT: 'line\n"quoted" ö' }));
  const two = stillborn(idOf(2), { kind: 'stopped', reason: 'canceled', ranMs: 0 });
  await Promise.all([
    first.save({ put: [one, accepted(fakeOrder(idOf(3)))] }),
    first.save({ put: [two] }),
    first.save({ remove: [idOf(3)] }),
  ]);
  await first.save({ put: [{ ...one, stopReason: 'drained' }] });
  await first.close();
  for (const name of ['agent.json', 'agent.json.twin']) t.equal(statSync(join(folder, name)).mode & 0o777, 0o600);
  t.equal(statSync(folder).mode & 0o777, 0o700);

  const next = new FileAgentStore(folder, base);
  t.teardown(() => next.close());
  const again = await next.open();
  t.equal(again.identity, identity);
  t.strictSame([...again.attempts.values()], [{ ...one, stopReason: 'drained' }, two]);
});

t.test('changes that follow one another at once are all kept', async (t) => {
  const folder = temporaryFolder(t);
  const store = new FileAgentStore(folder, base);
  t.teardown(() => store.close());
  await store.open();
  for (const number of [1, 2, 3]) await store.save({ put: [accepted(fakeOrder(idOf(number)))] });
});

t.test(
  'a change that can wait goes to disk with the next that cannot, by itself after a while, or at the end',
  async (t) => {
    const folder = temporaryFolder(t);
    const clock = new ManualClock();
    const store = new FileAgentStore(folder, { ...base, clock });
    await store.open();
    const kept: number[] = [];
    const keep = (number: number, canWait = {}): Promise<void> =>
      store.save({ put: [accepted(fakeOrder(idOf(number)))], ...canWait }).then(() => void kept.push(number));
    const first = keep(1, { canWait: true });
    await clock.advance(99);
    t.strictSame(kept, []);
    await clock.advance(1);
    await first;
    const second = keep(2, { canWait: true });
    await clock.advance(50);
    await Promise.all([second, keep(3)]);
    t.strictSame(kept, [1, 2, 3]);
    const last = keep(4, { canWait: true });
    const closed = store.close();
    await clock.advance(10);
    await Promise.all([closed, last]);
    const next = new FileAgentStore(folder, base);
    t.teardown(() => next.close());
    t.strictSame(
      [...(await next.open()).attempts.keys()],
      [1, 2, 3, 4].map((number) => idOf(number)),
    );
  },
);

t.test('a state that cannot be written keeps nothing of the change, and goes on when it can', async (t) => {
  const folder = temporaryFolder(t);
  const store = new FileAgentStore(folder, base);
  await store.open();
  mkdirSync(join(folder, 'agent.json.twin.new'));
  await t.rejects(store.save({ put: [accepted(fakeOrder(idOf(1)))] }), { code: 'store-unavailable' });
  rmdirSync(join(folder, 'agent.json.twin.new'));
  await store.save({ put: [accepted(fakeOrder(idOf(2)))] });
  await store.close();
  const next = new FileAgentStore(folder, base);
  t.teardown(() => next.close());
  t.strictSame([...(await next.open()).attempts.keys()], [idOf(2)]);
});

t.test('what is left of a write that was cut off anywhere is the state before it', async (t) => {
  const folder = temporaryFolder(t);
  const store = new FileAgentStore(folder, base);
  const { identity } = await store.open();
  for (const number of [1, 2, 3]) await store.save({ put: [accepted(fakeOrder(idOf(number)))] });
  await store.close();
  const newest = join(folder, 'agent.json.twin');
  const whole = readFileSync(newest);
  t.ok(whole.includes(idOf(3)));
  const before = Buffer.alloc(whole.length, 'of an earlier version\n');
  for (const keptBytes of [0, 7, 40, 400, 900]) {
    writeFileSync(newest, Buffer.concat([whole.subarray(0, keptBytes), before.subarray(keptBytes)]));
    const next = new FileAgentStore(folder, base);
    const found = await next.open();
    await next.close();
    t.equal(found.identity, identity);
    t.strictSame([...found.attempts.keys()], [idOf(1), idOf(2)], `${keptBytes} bytes`);
  }
});

t.test('the one file of earlier versions is taken over', async (t) => {
  const folder = temporaryFolder(t);
  const one = accepted(fakeOrder(idOf(1)));
  writeFileSync(join(folder, 'agent.json'), JSON.stringify({ format: 1, identity: 'ab', attempts: [one] }));
  for (const more of [idOf(2), idOf(3)]) {
    const store = new FileAgentStore(folder, base);
    const { identity, attempts } = await store.open();
    t.equal(identity, 'ab');
    t.strictSame(attempts.get(one.allocationId), one);
    await store.save({ put: [accepted(fakeOrder(more))] });
    await store.close();
  }
});

t.test('damaged files are refused with advice, and left as they are', async (t) => {
  const folder = temporaryFolder(t);
  const paths = ['agent.json', 'agent.json.twin'].map((name) => join(folder, name));
  const store = new FileAgentStore(folder, base);
  await store.open();
  await store.save({ put: [accepted(fakeOrder(idOf(1)))] });
  await store.close();
  const whole = readFileSync(paths[1] ?? '', 'utf8').trimEnd();
  for (const damaged of ['', whole.slice(0, -40), '{}', '{"format":99,"identity":"ab","attempts":[]}']) {
    for (const path of paths) writeFileSync(path, damaged);
    await t.rejects(new FileAgentStore(folder, base).open(), { code: 'store-corrupt', hint: /move it/ });
    for (const path of paths) t.equal(readFileSync(path, 'utf8'), damaged);
  }
});

t.test('one agent has a state directory, until it is closed or killed', async (t) => {
  const folder = temporaryFolder(t);
  const program = `
    const { FileAgentStore } = await import('${new URL('../../agent/store/file-store.js', import.meta.url)}');
    const { systemRandom } = await import('${new URL('../../shared/random.js', import.meta.url)}');
    const { systemClock } = await import('${new URL('../../shared/clock.js', import.meta.url)}');
    await new FileAgentStore(${JSON.stringify(folder)}, { random: systemRandom, clock: systemClock }).open();
    console.log('open');
    setInterval(() => {}, 1e6);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  const store = new FileAgentStore(folder, base);
  await t.rejects(store.open(), { code: 'state-dir-busy' });
  child.kill('SIGKILL');
  await once(child, 'exit');
  await store.open();
  await t.rejects(new FileAgentStore(folder, base).open(), { code: 'state-dir-busy' });
  await store.close();
  const next = new FileAgentStore(folder, base);
  await next.open();
  await next.close();
});

t.test('settings come from the file, the environment and flags, and all problems are told at once', async (t) => {
  const folder = temporaryFolder(t);
  const file = join(folder, 'agent.yaml');
  writeFileSync(file, 'url: http://a:1\nname: from-file\nlabel: {zone: eu, rack: r1}\nmemory: 4GiB\n');
  const config = await readAgentConfig(['--config', file, '--cpus', '1.5', '--gpus=2', '--state-dir', folder], {
    BERTH_AGENT_NAME: 'from-env',
    PATH: '/opt/bin',
    SECRET: 'x',
  });
  t.match(config, {
    url: 'http://a:1',
    nodeId: 'from-env',
    stateDir: folder,
    labels: { zone: 'eu', rack: 'r1' },
    capacity: { memoryMiB: 4_096, cpuMillis: 1_500 },
    gpuCount: 2,
    imageHighWater: 85,
  });
  for (const wrong of ['101', '-1', '8.5', 'full']) {
    await t.rejects(readAgentConfig([`--image-high-water=${wrong}`], {}), {
      message: /high-water: .* is no percentage/,
    });
  }
  t.strictSame(Object.keys(config.taskEnv), ['PATH', 'HOME', 'LANG', 'TMPDIR']);
  await t.rejects(readAgentConfig(['--cpu', '--memory', '5', '--name', '../x', '--label', 'zone'], {}), {
    code: 'invalid-request',
    message: /did you mean "--cpus"[\s\S]*--name[\s\S]*--label/,
  });
  t.throws(() => readToken(null), { code: 'invalid-request', hint: /agent\.token/ });
  t.throws(() => readToken(join(folder, 'missing')), { code: 'invalid-request' });
});

t.test('the inventory is what the machine has, unless the operator says otherwise', async (t) => {
  const folder = temporaryFolder(t);
  const base = { stateDir: folder, diskAt: folder, labels: { a: 'b' }, drivers: ['process'] as const, log: silentLog };
  const options = {
    ...base,
    bootId: readBootId(),
    capacity: { cpuMillis: 64_000 },
    gpuCount: 2,
    volumes: [],
    address: null,
    url: 'http://127.0.0.1:7',
    keepsSecrets: false,
  };
  const inventory = await takeInventory(options);
  t.equal(inventory.capacity.cpuMillis, 64_000);
  t.ok(inventory.capacity.memoryMiB > 100 && inventory.capacity.diskMiB >= 0);
  t.strictSame(
    inventory.gpus.map(({ index, uuid }) => [index, uuid]),
    [
      [0, 'gpu-0'],
      [1, 'gpu-1'],
    ],
  );
  t.equal(inventory.address, '127.0.0.1', 'the way to the coordinator is the loopback device');
  t.equal((await takeInventory({ ...options, address: 'gpu1.example' })).address, 'gpu1.example');
  t.match(inventory.attributes, { arch: process.arch, os: 'linux', hostname: String, cpuModel: /./ });
  const { attributes } = JSON.parse(readFileSync(join(folder, 'hardware.json'), 'utf8'));
  t.match(inventory.attributes, attributes);
  writeFileSync(
    join(folder, 'hardware.json'),
    JSON.stringify({ bootId: readBootId(), attributes: { cpuModel: 'kept' } }),
  );
  t.match((await takeInventory(options)).attributes, { cpuModel: 'kept' }, 'asked once per boot');
});

t.test('a sample says what the machine uses', async (t) => {
  const sampler = new Sampler(systemClock, '/');
  const before = Date.now();
  while (Date.now() < before + 60) Math.sqrt(before);
  const sample = sampler.sample();
  t.ok(sample.cpuUsedMillis > 0, `${sample.cpuUsedMillis} thousandths of a processor`);
  t.ok(sample.memoryUsedMiB > 10 && sample.diskFreeMiB > 0 && sample.load >= 0 && sample.sentAt >= before);
});
