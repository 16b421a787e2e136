import {
  chmodSync,
  chownSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { readCoordinatorConfig, type SecretsKey } from '../../coordinator/config.js';
import { ordersOf } from '../../coordinator/engine/orders.js';
import { explainStep } from '../../coordinator/scheduler/explain.js';
import { SecretStore } from '../../coordinator/secrets/secret-store.js';
import type { AllocationId, NodeId } from '../../shared/ids.js';
import { NO_LIMITS } from '../../shared/limits.js';
import { silentLog } from '../../shared/log.js';
import { systemRandom } from '../../shared/random.js';
import { registrySecretOf, SECRET_LIMITS } from '../../shared/secrets.js';
import { aHello, anInventory, oneStep } from '../kit/builders.js';
import { startServer } from '../kit/http-server.js';
import { ManualClock } from '../kit/manual-clock.js';
import { Scenario } from '../kit/scenario.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const KEY = 'ab'.repeat(32);
const OTHER_KEY = Buffer.alloc(32, 7).toString('base64');

function storeIn(stateDir: string, keys?: SecretsKey, maxTotalBytes?: number): Promise<SecretStore> {
  return SecretStore.open({
    stateDir,
    keys: keys ?? { kind: 'file', path: join(stateDir, 'secrets.key') },
    clock: new ManualClock(),
    random: systemRandom,
    log: silentLog,
    ...(maxTotalBytes === undefined ? {} : { maxTotalBytes }),
  });
}

const secretOf = (name: string, text: string, namespace = 'default') => ({
  ...{ namespace, name, by: 'ann' },
  value: Buffer.from(text),
});

const textOf = (store: SecretStore, name: string, namespace = 'default'): string | undefined => {
  const value = store.valueOf(namespace, name);
  return value && Buffer.from(value).toString();
};

const filesIn = (folder: string): string =>
  readdirSync(folder)
    .map((name) => readFileSync(join(folder, name), 'latin1'))
    .join();

t.test('a secret outlives the process, sealed, and of its namespace alone', async (t) => {
  const folder = temporaryFolder(t);
  const store = await storeIn(folder);
  t.notOk(existsSync(join(folder, 'secrets.key')), 'nobody needs a key yet');
  await Promise.all([store.set(secretOf('db', 'one-value')), store.set(secretOf('db', 'another-value', 'research'))]);
  await store.set(secretOf('db', 'newer-value'));
  const second = await storeIn(folder);
  t.equal(textOf(second, 'db'), 'newer-value');
  t.equal(textOf(second, 'db', 'research'), 'another-value');
  t.equal(textOf(second, 'db', 'elsewhere'), undefined);
  t.same([...second.secretKeys].sort(), ['default/db', 'research/db']);
  t.match(second.list(), [{ namespace: 'default', name: 'db', setBy: 'ann' }, { namespace: 'research' }]);
  const onDisk = filesIn(folder);
  for (const value of ['newer-value', 'another-value']) {
    for (const form of ['latin1', 'base64', 'hex'] as const)
      t.notOk(onDisk.includes(Buffer.from(value).toString(form)));
  }
  t.equal(await second.remove({ namespace: 'default', name: 'db' }), true);
  t.equal(await second.remove({ namespace: 'default', name: 'db' }), false);
  t.equal(textOf(await storeIn(folder), 'db'), undefined);
});

t.test('a value that was moved to another name, or changed by a bit, does not open', async (t) => {
  const folder = temporaryFolder(t);
  const store = await storeIn(folder);
  await store.set(secretOf('mine', 'value'));
  const path = join(folder, 'secrets.json');
  const whole = readFileSync(path, 'utf8');
  const { sealed } = (JSON.parse(whole) as { secrets: [{ sealed: string }] }).secrets[0];
  const first = sealed.startsWith('A') ? 'B' : 'A';
  const damages = [
    whole.replace('"mine"', '"yours"'),
    whole.replace('"default"', '"research"'),
    whole.replace(sealed, first + sealed.slice(1)),
    whole.replace(sealed, ''),
    whole.slice(0, -9),
    '{"format":2,"secrets":[]}',
  ];
  for (const damage of damages) {
    writeFileSync(path, damage);
    await t.rejects(storeIn(folder), { code: 'store-corrupt', hint: /./ }, damage.slice(0, 60));
  }
});

t.test('a key that others may read, that is not ours, not there or none, is refused', async (t) => {
  const folder = temporaryFolder(t);
  const key = join(folder, 'secrets.key');
  await (await storeIn(folder)).set(secretOf('a', 'value'));
  for (const mode of [0o640, 0o604, 0o610]) {
    chmodSync(key, mode);
    await t.rejects(storeIn(folder), { code: 'invalid-request', message: /may be read by others/, hint: /chmod 600/ });
  }
  chmodSync(key, 0o600);
  if (process.geteuid?.() === 0) {
    chownSync(key, 12_345, 0);
    await t.rejects(storeIn(folder), { code: 'invalid-request', message: /belongs to user 12345/ });
    chownSync(key, 0, 0);
  }
  t.equal(textOf(await storeIn(folder), 'a'), 'value');
  renameSync(key, `${key}.away`);
  await t.rejects(storeIn(folder), { code: 'store-corrupt', message: /1 secrets do not open with .*secrets\.key/ });
  writeFileSync(key, 'abc\n', { mode: 0o600 });
  await t.rejects(storeIn(folder), { code: 'invalid-request', message: /no key of 32 bytes/, hint: /openssl rand/ });
});

t.test(
  'rotating the key leaves the old one useless, and a crash on the way leaves every secret readable',
  async (t) => {
    const folder = temporaryFolder(t);
    const [key, sealed] = [join(folder, 'secrets.key'), join(folder, 'secrets.json')];
    const store = await storeIn(folder);
    for (const name of ['a', 'b']) await store.set(secretOf(name, `value of ${name}`));
    const [oldKey, oldSealed] = [readFileSync(key, 'utf8'), readFileSync(sealed, 'utf8')];
    t.equal(await store.rotateKey(), 2);
    const [newKey, newSealed] = [readFileSync(key, 'utf8'), readFileSync(sealed, 'utf8')];
    t.not(newKey, oldKey);
    t.equal(newKey.length, oldKey.length, 'the old key is gone');
    await store.set(secretOf('c', 'later'));
    t.equal(textOf(await storeIn(folder), 'c'), 'later');

    for (const [keys, secrets] of [
      [newKey + oldKey, oldSealed],
      [newKey + oldKey, newSealed],
      [newKey, newSealed],
    ] as const) {
      writeFileSync(key, keys);
      writeFileSync(sealed, secrets);
      const found = await storeIn(folder);
      t.same([textOf(found, 'a'), textOf(found, 'b')], ['value of a', 'value of b']);
    }
    writeFileSync(key, oldKey);
    await t.rejects(storeIn(folder), { code: 'store-corrupt' }, 'a stolen old key opens nothing');
  },
);

t.test('keys of the operator are used as they are given, the first for sealing', async (t) => {
  const folder = temporaryFolder(t);
  await (await storeIn(folder, { kind: 'given', text: KEY })).set(secretOf('a', 'value'));
  await t.rejects(storeIn(folder, { kind: 'given', text: OTHER_KEY }), {
    code: 'store-corrupt',
    message: /BERTH_COORDINATOR_SECRETS_KEY/,
  });
  const both = await storeIn(folder, { kind: 'given', text: `${OTHER_KEY},${KEY}` });
  t.equal(textOf(both, 'a'), 'value');
  t.equal(await both.rotateKey(), 1);
  t.equal(textOf(await storeIn(folder, { kind: 'given', text: OTHER_KEY }), 'a'), 'value');
  t.same(readdirSync(folder), ['secrets.json'], 'and no key is written down');

  const env = { BERTH_COORDINATOR_SECRETS_KEY: KEY };
  t.same((await readCoordinatorConfig([], env)).secretsKey, { kind: 'given', text: KEY });
  const named = await readCoordinatorConfig(['--secrets-key-file', '/k', '--state-dir', '/s'], {});
  t.same(named.secretsKey, { kind: 'file', path: '/k' });
  await t.rejects(readCoordinatorConfig(['--secrets-key', KEY], {}), { code: 'invalid-request' }, 'a key is no flag');
});

t.test('what could not be written has not changed, and what is too much is refused', async (t) => {
  const folder = temporaryFolder(t);
  const store = await storeIn(folder);
  await store.set(secretOf('a', 'before'));
  rmSync(folder, { recursive: true });
  await t.rejects(store.set(secretOf('a', 'after')), { code: 'store-unavailable' });
  await t.rejects(store.remove({ namespace: 'default', name: 'a' }), { code: 'store-unavailable' });
  t.equal(textOf(store, 'a'), 'before');

  const small = await storeIn(temporaryFolder(t), undefined, 2_000);
  await small.set(secretOf('a', 'x'.repeat(1_000)));
  await t.rejects(small.set(secretOf('b', 'x'.repeat(1_000))), { code: 'conflict', hint: /secrets rm/ });
  await small.set(secretOf('a', 'y'.repeat(1_000)));
  t.same([...small.secretKeys], ['default/a']);
});

t.test('the interface takes values and never shows one', async (t) => {
  const server = await startServer();
  t.teardown(() => server.close());
  const put = (path: string, body: string) =>
    server.send('PUT', `/v1/secrets/${path}`, { body, headers: { 'content-type': 'application/octet-stream' } });
  t.match(await put('default/db', 'hunter2'), { status: 204, text: '' });
  t.match(await put('default/registry:ghcr.io:443', 'ann:pw'), { status: 204 });
  t.match((await server.get('/v1/secrets')).body, {
    secrets: [
      { namespace: 'default', name: 'db', setAt: /^\d{4}-/, setBy: 'admin' },
      { namespace: 'default', name: 'registry:ghcr.io:443' },
    ],
  });
  const asJson = { body: { text: 'hunter2' } };
  t.match(await server.send('PUT', '/v1/secrets/default/json', asJson), { status: 204 }, 'any body is just bytes');
  t.match(await put('default/empty', ''), { status: 400 });
  t.match(await put('default/a%2Fb', 'x'), { status: 400, text: /not the name of a secret/ });
  t.match(await put('default/big', 'x'.repeat(SECRET_LIMITS.maxValueBytes + 1)), { status: 413, text: /65537 bytes/ });
  t.match(await server.get('/v1/secrets/default/db'), { status: 405 }, 'no route shows it');
  t.match(await server.post('/v1/secrets/rotate-key'), { status: 200, text: '{"secretCount":3}' });
  t.equal((await server.send('DELETE', '/v1/secrets/default/db')).status, 204);
  t.match(await server.send('DELETE', '/v1/secrets/default/db'), { status: 404, text: /berth secrets ls/ });
});

function withSecrets(t: Test, ...keys: string[]) {
  const secretKeys = new Set(keys);
  const cluster = new Scenario({ limits: { ...NO_LIMITS, secretKeys } });
  const inventory = anInventory({ attributes: { secrets: 'memory' } });
  t.teardown(() => secretKeys.clear());
  return { secretKeys, cluster: cluster.join('n1', { inventory }) };
}

const asking = oneStep({ secrets: [{ name: 'db', env: 'DB' }] });

t.test('a job whose secret nobody has set is refused, with the name that was probably meant', (t) => {
  const { cluster } = withSecrets(t, 'default/dbs', 'research/db');
  cluster.submit(asking);
  t.match(cluster.reply, {
    refused: 'invalid-spec',
    detail: 'there is no secret "db" in namespace default; did you mean "dbs"?',
    problems: [{ field: 'steps[0].secrets[0].name' }],
  });
  t.end();
});

t.test('a task whose secret was removed waits for it by name, and starts when it is set again', (t) => {
  const { cluster, secretKeys } = withSecrets(t, 'default/db');
  cluster.submit({ ...asking, hold: true });
  secretKeys.clear();
  cluster.when({ type: 'releaseJob', jobId: 'j1' as never });
  t.same(cluster.all('allocation.committed'), []);
  const job = cluster.job('j1');
  const step = job?.steps.get('main');
  const limits = { ...NO_LIMITS, secretKeys };
  t.match(job && step && explainStep(cluster.view, { job, step }, { limits, now: cluster.clock.now() }), {
    code: 'secret',
    message: /waits for the secret "db" of namespace default.*berth secrets set db --namespace default/,
  });
  cluster.submit(oneStep());
  t.equal(cluster.all('allocation.committed').length, 1, 'it holds up nobody else');
  secretKeys.add('default/db');
  cluster.when({ type: 'limitsChanged' });
  t.match(cluster.all('allocation.committed'), [{ allocationId: 'j1.0#1' }]);
  t.end();
});

t.test('a node without a place in memory for secrets gets no task that has any', (t) => {
  const { cluster } = withSecrets(t, 'default/db');
  cluster.join('n2').when({ type: 'cordonNode', nodeId: 'n1' as NodeId, reason: 'test', by: 'tester' });
  cluster.submit(asking).submit(oneStep());
  t.match(
    cluster.log.filter(({ event }) => event.type === 'allocation.committed'),
    [{ event: { allocationId: 'j2.0#1', nodeId: 'n2' } }],
  );
  t.end();
});

t.test('values are in the order for the attempt, and again for an agent that forgot them before it began', (t) => {
  const { cluster } = withSecrets(t, 'default/db');
  cluster.submit(
    oneStep({
      image: 'ghcr.io/a/b',
      secrets: [
        { name: 'db', env: 'DB' },
        { name: 'gone', file: 'f' },
      ],
    }),
  );
  t.equal(cluster.refusal(), 'invalid-spec');
  cluster.submit(asking).submit(oneStep());
  const values: Record<string, string> = { 'default/db': 'v' };
  const orders = ordersOf(cluster.view, {
    valueOf: (namespace, name) => {
      const value = values[`${namespace}/${name}`];
      return value === undefined ? undefined : Buffer.from(value);
    },
  });
  const granted = { secrets: [{ name: 'db', env: 'DB', value: Buffer.from('v') }] };
  const [first, second] = ['j1.0#1', 'j2.0#1'] as AllocationId[];
  t.match(orders.startOrder(first as AllocationId), granted);
  t.notOk('secrets' in (orders.startOrder(second as AllocationId) ?? {}));
  const held = [first, second].map((id) => ({
    allocationId: id as AllocationId,
    phase: 'preparing' as const,
    ageMs: 1,
  }));
  const sync = orders.syncFor('n1' as NodeId, aHello('n1', { held }));
  t.match(sync, { keep: [second], start: [{ allocationId: first, ...granted }], stop: [] });
  const running = held.map((entry) => ({ ...entry, phase: 'running' as const }));
  t.match(orders.syncFor('n1' as NodeId, aHello('n1', { held: running })), { keep: [first, second], start: [] });
  const stolen = orders.syncFor('n2' as NodeId, aHello('n2', { held }));
  t.match(stolen, { keep: [], start: [], stop: [{ allocationId: first, reason: 'stale' }, {}] }, 'nobody else is told');
  delete values['default/db'];
  t.match(orders.startOrder(first as AllocationId), { secrets: [{ name: 'db', value: null }] });
  t.end();
});

t.test("a login at an image's registry is the secret named for it", (t) => {
  const rows = [
    ['python:3.12', 'registry:docker.io'],
    ['library/python', 'registry:docker.io'],
    ['ghcr.io/a/b@sha256:0', 'registry:ghcr.io'],
    ['localhost/a', 'registry:localhost'],
    ['10.0.0.1:5000/a', 'registry:10.0.0.1:5000'],
  ] as const;
  for (const [image, name] of rows) t.equal(registrySecretOf(image), name);
  const inventory = anInventory({ drivers: ['docker'] });
  const cluster = new Scenario().join('n1', { inventory }).submit(oneStep({ driver: 'docker', image: 'ghcr.io/a/b' }));
  const order = (value: string) =>
    ordersOf(cluster.view, {
      valueOf: (_, name) => (name === 'registry:ghcr.io' ? Buffer.from(value) : undefined),
    }).startOrder('j1.0#1' as AllocationId)?.registryAuth;
  t.same(order('ann:p:w\n'), { username: 'ann', password: 'p:w' });
  t.equal(order('no login'), undefined);
  t.end();
});
