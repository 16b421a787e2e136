import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Cgroup } from '../../agent/driver/process/cgroup.js';
import { Cores } from '../../agent/driver/process/cores.js';
import { type IsolationPlan, NO_ISOLATION, planIsolation } from '../../agent/driver/process/isolation.js';
import type { AllocationId } from '../../shared/ids.js';
import { Watched } from '../conformance/task-driver.js';
import { cellGroups, removeGroups } from '../kit/cells.js';
import { type ProcessBench, processBench } from '../kit/process-bench.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { until } from '../kit/until.js';
import { anOrder } from '../kit/wire-samples.js';

t.setTimeout(300_000);
const keepAlive = setInterval(() => {}, 60_000);
t.teardown(() => clearInterval(keepAlive));

const [first, second, third, fourth] = [1, 2, 3, 4].map((n) => `j${n}.0#1` as AllocationId) as [
  AllocationId,
  AllocationId,
  AllocationId,
  AllocationId,
];

const full = await planIsolation({ isolation: null, userName: 'nobody', allowedUsers: [], maxProcesses: 64 });
if (full.kind !== 'full' && process.env.CI === 'true') t.fail('this machine cannot isolate tasks');
const plans: IsolationPlan[] = [NO_ISOLATION];
if (full.kind === 'full') plans.push({ ...full, kind: 'cgroup' }, full);

const SELF = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
const machine = new Cores(temporaryFolder(t)).allot(pinned(first, 1));

function pinned(allocationId: AllocationId, cpus: number) {
  return anOrder({ allocationId, pinCpus: true, resources: { cpuMillis: cpus * 1_000, memoryMiB: 64, diskMiB: 0 } });
}

function bench(t: Test, isolation: IsolationPlan): ProcessBench {
  const folder = mkdtempSync('/var/tmp/berth-test-');
  chmodSync(folder, 0o755);
  t.teardown(async () => {
    await removeGroups(cellGroups(join(folder, 'state')));
    rmSync(folder, { recursive: true, force: true });
  });
  return processBench(t, { isolation, folder });
}

async function outputOf(watched: Watched, id: AllocationId): Promise<string> {
  return Buffer.from(await watched.driver.read(id, 'stdout', 0, 1_000)).toString();
}

const TELL = 'echo "[$BERTH_CPU_LIST]" $(grep Cpus_allowed_list /proc/self/status | cut -f2)';
const ONE = { pinCpus: true, resources: { cpuMillis: 1_000, memoryMiB: 64, diskMiB: 0 } } as const;

for (const plan of plans) {
  t.test(`with isolation ${plan.kind} a pinned task has its core to itself, across a restart`, async (t) => {
    const { factory, shell } = bench(t, plan);
    const before = await Watched.open(factory);
    await before.driver.recover([]);
    await before.driver.start(shell(first, `${TELL}; exec sleep 60`, ONE));
    await before.started(first);
    const core = machine.kind === 'own' ? machine.list : '';
    await until('it tells', async () => (await outputOf(before, first)) === `[${core}] ${core}\n`);
    await before.driver.close();

    const after = await Watched.open(factory);
    t.teardown(() => after.driver.close());
    t.match((await after.driver.recover([first])).get(first), { kind: 'running' });
    await after.driver.start(shell(second, TELL, ONE));
    await after.ended(second);
    const [, other = '', seen = ''] = /^\[(.+)\] (.+)\n$/.exec(await outputOf(after, second)) ?? [];
    t.match(other, /^\d+$/);
    t.equal(other, seen);
    t.not(other, core, 'another core');

    const all = { ...ONE, resources: { ...ONE.resources, cpuMillis: coreCount(SELF) * 1_000 } };
    await after.driver.start(shell(third, TELL, all));
    const message = `it asks for ${coreCount(SELF)} cores of its own, and ${coreCount(SELF) - 1} of this node's are nobody's`;
    t.strictSame((await after.ended(third)).end, { kind: 'rejected', message });
    await after.driver.start(shell(fourth, TELL));
    t.match((await after.ended(fourth)).end, { kind: 'exited', exitCode: 0 });
    t.equal(await outputOf(after, fourth), `[] ${SELF}\n`, 'a task that is not pinned runs anywhere');

    await after.driver.signal(first, 'SIGKILL');
    await after.ended(first);
    const again = 'j5.0#1' as AllocationId;
    await after.driver.start(shell(again, TELL, all));
    t.match((await after.ended(again)).end, { kind: 'exited', exitCode: 0 }, 'its core is free again');
  });
}

t.test('cores are kept in files until nothing of their attempt is left', async (t) => {
  const folder = temporaryFolder(t);
  const usable = () => [2, 3, 7];
  const cores = new Cores(folder, usable);
  t.strictSame(cores.allot(pinned(first, 2)), { kind: 'own', list: '2,3' });
  t.strictSame(cores.allot(anOrder({ allocationId: third })), { kind: 'any' });
  const later = new Cores(folder, usable);
  t.match(later.allot(pinned(second, 2)), { kind: 'refused', message: /asks for 2 cores .* 1 of this node's/ });
  t.strictSame(later.allot(pinned(second, 1)), { kind: 'own', list: '7' });
  later.release(first);
  later.release(first);
  t.strictSame(later.allot(pinned(third, 1)), { kind: 'own', list: '2' }, 'released cores are given out again');
  later.keepOnly(new Set([third]));
  t.strictSame(readdirSync(folder), [third], "what is not of interest is nobody's");
});

t.test('a group of version 2 is told its cores and keeps its memory nodes', async (t) => {
  const at = temporaryFolder(t);
  mkdirSync(join(at, 'berth-x'));
  new Cgroup({ version: 2, folders: new Map([['cpuset', at]]) }, 'berth-x').make().pin('2,3');
  t.equal(readFileSync(join(at, 'berth-x', 'cpuset.cpus'), 'utf8'), '2,3');
  t.strictSame(readdirSync(join(at, 'berth-x')), ['cpuset.cpus']);
});

/** `0-3,8` */
function coreCount(list: string): number {
  const counts = list.split(',').map((part) => {
    const [from = 0, to = from] = part.split('-').map(Number);
    return to - from + 1;
  });
  return counts.reduce((sum, count) => sum + count, 0);
}
