import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { NO_ISOLATION } from '../../agent/driver/process/isolation.js';
import { processDriver } from '../../agent/driver/process/process-driver.js';
import { findSecretsRoot, SecretFolder } from '../../agent/driver/secret-folder.js';
import { systemClock } from '../../shared/clock.js';
import type { AllocationId } from '../../shared/ids.js';
import { silentLog } from '../../shared/log.js';
import { systemRandom } from '../../shared/random.js';
import type { SecretGrant, StartOrder } from '../../shared/wire/messages.js';
import { Watched } from '../conformance/task-driver.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { anOrder } from '../kit/wire-samples.js';
import { fakeOrder, idOf, Rig } from './rig.js';

const id = idOf(1);
const MEMORY = '/dev/shm';
const ENVIRONMENT = { kind: 'command', argv: ['env'] } as const;
const strange = Buffer.from(`it's "$HOME" \`id\` \\ ü\nend`);

// A driver keeps no process alive by itself.
const keepAlive = setInterval(() => {}, 60_000);
t.teardown(() => clearInterval(keepAlive));

function memoryFolder(t: Test): string {
  const folder = mkdtempSync(join(MEMORY, 'berth-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

interface Opened {
  readonly watched: Watched;
  readonly root: string;
  reopen(): Promise<Watched>;
}

async function driverWithSecrets(t: Test): Promise<Opened> {
  const root = join(memoryFolder(t), 'process');
  const task = { nodeName: 'n1', env: { PATH: '/usr/bin:/bin' }, hasGpus: () => false };
  const base = { clock: systemClock, random: systemRandom, log: silentLog, bootId: 'boot-1' };
  const options = {
    ...base,
    task,
    directory: join(temporaryFolder(t), 'state'),
    isolation: async () => NO_ISOLATION,
    secrets: new SecretFolder(root),
  };
  const open = async (): Promise<Watched> => {
    const watched = await Watched.open(processDriver(options));
    t.teardown(() => watched.driver.close());
    return watched;
  };
  const watched = await open();
  await watched.driver.recover([]);
  return { watched, root, reopen: open };
}

function asking(secrets: readonly SecretGrant[], script: string, allocationId: AllocationId = id): StartOrder {
  const run = { kind: 'command', argv: ['sh', '-c', script] } as const;
  return anOrder({ allocationId, env: {}, workdir: null, gpus: [], timeLimitMs: null, run, secrets });
}

const outputOf = async ({ driver }: Watched): Promise<Buffer> =>
  Buffer.from(await driver.read(id, 'stdout', 0, 100_000));

t.test('a task finds its secrets byte for byte as variables and as files that it alone may read', async (t) => {
  const { watched, root } = await driverWithSecrets(t);
  const bytes = Buffer.from([0, 1, 10, 39, 255]);
  const secrets = [
    { name: 'text', env: 'TEXT', value: strange },
    { name: 'both', env: 'BOTH', file: 'both.txt', value: Buffer.from('both') },
    { name: 'bytes', file: 'key.bin', value: bytes },
  ];
  const script = `printf '%s|%s|' "$TEXT" "$BOTH"; cd "$BERTH_SECRETS_DIR"; stat -c '%a %u %n' . *; cat both.txt key.bin`;
  await watched.driver.start(asking(secrets, script));
  t.match((await watched.ended(id)).end, { kind: 'exited', exitCode: 0 });
  const uid = process.geteuid?.();
  const listing = `700 ${uid} .\n400 ${uid} both.txt\n400 ${uid} key.bin\n`;
  const expected = Buffer.concat([strange, Buffer.from(`|both|${listing}both`), bytes]);
  t.strictSame(await outputOf(watched), expected);
  t.notOk(existsSync(root), 'and they are gone when it has ended');
  const next = idOf(2);
  await watched.driver.start(anOrder({ allocationId: next, env: {}, workdir: null, gpus: [], run: ENVIRONMENT }));
  await watched.ended(next);
  const after = Buffer.from(await watched.driver.read(next, 'stdout', 0, 100_000)).toString();
  t.ok(after.includes('BERTH_TASK_ID=') && !/BOTH|TEXT|SECRETS/.test(after), 'the next task of its shell has none');
});

t.test('variables alone need no folder, and what has a NUL byte can only be a file', async (t) => {
  const { watched } = await driverWithSecrets(t);
  const plain = [{ name: 'a', env: 'A', value: Buffer.from('v') }];
  await watched.driver.start(asking(plain, 'echo "$A$(printenv BERTH_SECRETS_DIR || echo unset)"'));
  await watched.ended(id);
  t.equal((await outputOf(watched)).toString(), 'vunset\n');
  const second = idOf(2);
  await watched.driver.start(asking([{ name: 'a', env: 'A', value: Buffer.from([1, 0]) }], 'true', second));
  t.match((await watched.ended(second)).end, { kind: 'start-failed', message: /"a" has a NUL byte/ });
});

t.test('a running task keeps its secrets through a restart of the agent; what is left of others goes', async (t) => {
  const { watched, root, reopen } = await driverWithSecrets(t);
  const script = 'while [ ! -e go ]; do sleep 0.05; done; cat "$BERTH_SECRETS_DIR/a"';
  await watched.driver.start(asking([{ name: 'a', file: 'a', value: Buffer.from('kept') }], script));
  await watched.started(id);
  await watched.driver.close();
  mkdirSync(join(root, 'j9.0#1'));
  const second = await reopen();
  t.match(await second.driver.recover([id]), new Map([[id, { kind: 'running' }]]));
  t.strictSame(readdirSync(root), [id]);
  await second.driver.signal(id, 'SIGKILL');
  await second.ended(id);
  t.notOk(existsSync(root));
});

t.test(
  'secrets go only to memory: a folder on a disk is refused, and one that others may enter is closed',
  async (t) => {
    const folder = temporaryFolder(t);
    t.throws(() => findSecretsRoot(join(folder, 'x'), '/s'), { code: 'invalid-request', message: /is on a disk/ });
    t.throws(() => new SecretFolder(folder).write(asking([{ name: 'a', file: 'a', value: strange }], 'true')), {
      code: 'task-start-failed',
      message: /is on a disk/,
    });
    t.strictSame(readdirSync(folder), []);
    const own = memoryFolder(t);
    chmodSync(own, 0o755);
    mkdirSync(join(own, 'kept'));
    t.equal(findSecretsRoot(own, '/s'), own);
    t.equal(statSync(own).mode & 0o777, 0o700);
    const found = findSecretsRoot(null, folder);
    t.match(found, /^\/(run|dev\/shm)\/berth-[0-9a-f]{12}$/);
    t.not(found, findSecretsRoot(null, `${folder}2`), 'two agents do not share one');
  },
);

t.test('an agent writes no value down, and asks again for what it had not begun when it was restarted', async (t) => {
  const rig = new Rig();
  rig.boot();
  await rig.pass(50);
  const secrets = [{ name: 'a', env: 'A', value: Buffer.from('v') }];
  const order = fakeOrder(id, { SIM_START_MS: '60000' }, { secrets, registryAuth: { username: 'u', password: 'p' } });
  rig.coordinator.start(order);
  await rig.pass(50);
  t.match(rig.machine.task(id)?.order, { secrets: [{ value: Buffer.from('v') }], registryAuth: { password: 'p' } });
  const [record] = (await rig.store.open()).attempts.values();
  t.strictSame(record?.order?.secrets, [{ name: 'a', env: 'A', value: null }]);
  t.notOk(record?.order?.registryAuth);
  rig.crash();

  const second = new Rig();
  second.store = rig.store;
  second.boot();
  await second.pass(50);
  t.equal(second.machine.startCounts.size, 0, 'told to keep it, it still lacks the value');
  second.coordinator.start(order);
  await second.pass(50);
  t.match(second.machine.task(id)?.order.secrets, [{ value: Buffer.from('v') }]);
});

t.test('an order whose secret was removed meanwhile is rejected, so that the task waits for it', async (t) => {
  const rig = new Rig();
  rig.boot();
  await rig.pass(50);
  rig.coordinator.start(fakeOrder(id, {}, { secrets: [{ name: 'a', env: 'A', value: null }] }));
  await rig.pass(50);
  t.match(rig.coordinator.ends.get(id), { kind: 'rejected', message: 'its secret "a" was removed' });
  t.equal(rig.machine.startCounts.size, 0);
});
