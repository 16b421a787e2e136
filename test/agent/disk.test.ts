import { chmodSync, linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { diskUse } from '../../agent/driver/process/disk-use.js';
import { planIsolation } from '../../agent/driver/process/isolation.js';
import { DiskWatch } from '../../agent/supervise/disk-watch.js';
import type { AllocationId } from '../../shared/ids.js';
import { Watched } from '../conformance/task-driver.js';
import { cellGroups, removeGroups } from '../kit/cells.js';
import { ManualClock } from '../kit/manual-clock.js';
import { processBench } from '../kit/process-bench.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { until } from '../kit/until.js';

t.setTimeout(300_000);
const keepAlive = setInterval(() => {}, 60_000);
t.teardown(() => clearInterval(keepAlive));

const MIB = 1024 ** 2;
const id = 'j1.0#1' as AllocationId;

t.test('what is in folders is counted by its blocks, once, and no link is followed', async (t) => {
  const folder = temporaryFolder(t);
  const beside = join(temporaryFolder(t), 'big');
  writeFileSync(beside, Buffer.alloc(4 * MIB, 1));
  const before = await diskUse([folder]);
  mkdirSync(join(folder, 'a', 'b'), { recursive: true });
  writeFileSync(join(folder, 'a', 'b', 'file'), Buffer.alloc(2 * MIB, 1));
  linkSync(join(folder, 'a', 'b', 'file'), join(folder, 'again'));
  symlinkSync(beside, join(folder, 'link'));
  writeFileSync(join(folder, 'hole'), '');
  truncateSync(join(folder, 'hole'), 100 * MIB);
  const added = (await diskUse([folder, join(folder, 'missing')])) - before;
  t.ok(added >= 2 * MIB && added < 3 * MIB, `${added} bytes`);
});

t.test('no more than 20,000 entries are looked at', async (t) => {
  const folder = temporaryFolder(t);
  for (let n = 0; n < 20_100; n += 1) writeFileSync(join(folder, String(n)), '');
  // Whatever the order, one entry of the second folder would be more than all of the first.
  const other = temporaryFolder(t);
  writeFileSync(join(other, 'big'), Buffer.alloc(2 * MIB, 1));
  t.ok((await diskUse([other])) >= 2 * MIB);
  t.ok((await diskUse([folder, other])) < 2 * MIB, 'the rest is not counted');
});

t.test('a watch measures until it is stopped, and rests long after what took long', async (t) => {
  const clock = new ManualClock();
  let [count, bytes, tookMs, told] = [0, 5, 0, 0];
  const measure = async (): Promise<number> => {
    count += 1;
    if (tookMs > 0) await new Promise<void>((resolve) => void clock.after(tookMs, resolve));
    return bytes;
  };
  const exceeded = () => {
    told += 1;
  };
  const watch = new DiskWatch({ clock, limitBytes: 5, measure, exceeded });
  watch.start();
  await clock.advance(5_100);
  t.strictSame([count, told], [1, 0], 'as much as it asked for is not too much');
  [bytes, tookMs] = [6, 1_000];
  await clock.advance(6_000);
  t.strictSame([count, told], [2, 1]);
  await clock.advance(19_000);
  t.equal(count, 2, 'twenty times as long');
  await clock.advance(2_500);
  t.strictSame([count, told], [3, 2], 'as long as nobody stops it');
  await clock.advance(20_100);
  t.equal(count, 4);
  watch.stop();
  await clock.advance(60_000);
  t.strictSame([count, told], [4, 2], 'a measurement under way tells nothing any more');
});

const full = await planIsolation({ isolation: null, userName: 'nobody', allowedUsers: [], maxProcesses: 64 });
if (full.kind !== 'full' && process.env.CI === 'true') t.fail('this machine cannot isolate tasks');
const skip = full.kind === 'full' ? false : 'it takes root, control groups and namespaces';

t.test("an isolated task's own /tmp counts, and a neighbour's does not", { skip }, async (t) => {
  const folder = mkdtempSync('/var/tmp/berth-test-');
  chmodSync(folder, 0o755);
  t.teardown(async () => {
    await removeGroups(cellGroups(join(folder, 'state')));
    rmSync(folder, { recursive: true, force: true });
  });
  const { factory, shell } = processBench(t, { isolation: full, folder });
  const { driver } = await Watched.open(factory);
  t.teardown(() => driver.close());
  await driver.recover([]);
  const neighbour = 'j2.0#1' as AllocationId;
  await driver.start(shell(id, 'head -c 3M /dev/urandom > /tmp/x; head -c 3M /dev/urandom > y; exec sleep 60'));
  await driver.start(shell(neighbour, 'exec sleep 60'));
  await until('both files are there', async () => ((await driver.disk?.diskUse(id, [])) ?? 0) >= 6 * MIB);
  t.ok(((await driver.disk?.diskUse(neighbour, [])) ?? 0) < MIB);
  for (const each of [id, neighbour]) await driver.signal(each, 'SIGKILL');
});
