import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parseVolumes } from '../../agent/config/volumes.js';
import { workdirInCell } from '../../agent/driver/process/cell.js';
import { planIsolation } from '../../agent/driver/process/isolation.js';
import { ArtifactClient } from '../../agent/staging/artifact-client.js';
import { FileStaging } from '../../agent/staging/file-staging.js';
import { systemClock } from '../../shared/clock.js';
import { Unfit } from '../../shared/config.js';
import type { AllocationId } from '../../shared/ids.js';
import type { VolumeMount } from '../../shared/job-spec/staging-spec.js';
import { silentLog } from '../../shared/log.js';
import { systemRandom } from '../../shared/random.js';
import type { StartOrder } from '../../shared/wire/messages.js';
import { isolatedDriver, outputOf } from '../kit/isolation-bench.js';
import { until } from '../kit/until.js';

const id = 'j1.0#1' as AllocationId;
const neighbour = 'j2.0#1' as AllocationId;
const never = new AbortController().signal;
t.setTimeout(300_000);
const keepAlive = setInterval(() => {}, 60_000);
t.teardown(() => clearInterval(keepAlive));

const wish = { userName: 'nobody', allowedUsers: ['root'], maxProcesses: 40 };
const full = await planIsolation({ ...wish, isolation: null });
if (full.kind !== 'full' && process.env.CI === 'true') t.fail('this machine cannot isolate tasks');
const skip = full.kind === 'full' ? false : 'it takes root, control groups and namespaces';

function folderFor(t: Test, at: string): string {
  const folder = mkdtempSync(join(at, 'berth-volume-'));
  chmodSync(folder, 0o777);
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/**
 * A node that isolates, with the volumes `scans` (a folder below `at`), the same as `kept`, which may be written, and
 * `fast` (memory). File permissions let everybody do everything with them.
 */
async function aNode(t: Test, at = '/var/tmp') {
  const own = await isolatedDriver(t, full);
  const scans = folderFor(t, at);
  mkdirSync(join(scans, 'deep'));
  for (const name of ['a.nii', 'deep/b.nii']) writeFileSync(join(scans, name), `${name}\n`);
  for (const name of ['deep', 'a.nii', 'deep/b.nii']) chmodSync(join(scans, name), 0o777);
  const volumes = parseVolumes(`scans=${scans}\nkept=path=${scans},writable=true\nfast=tmpfs=2MiB`);
  if (volumes instanceof Unfit) throw new Error(volumes.message);
  const staging = new FileStaging({
    ...{ clock: systemClock, random: systemRandom, log: silentLog, s3: null, inputRoots: [], volumes },
    directory: join(own.folder, 'staging'),
    views: new Map([['process', async () => ({ kind: 'cell', workspace: workdirInCell })]]),
    artifacts: new ArtifactClient({ url: 'http://127.0.0.1:9', token: 'none' }),
  });
  const stage = (script: string, wanted: readonly VolumeMount[], parts: Partial<StartOrder> = {}) =>
    staging.stageIn(own.shell(id, `exec 2>/dev/null\n${script}`, { volumes: wanted, ...parts }), never);
  const start = async (prepared: StartOrder) => {
    await own.watched.driver.start(prepared);
    const { end } = await own.watched.ended(id);
    return { end, output: await outputOf(own.watched, id) };
  };
  const run = async (...given: Parameters<typeof stage>) => start(await stage(...given));
  return { ...own, scans, staging, stage, start, run };
}

/** Of this process's own namespace, which is the machine's. */
function mountTable(): string {
  return readFileSync('/proc/self/mountinfo', 'utf8');
}

/** Namespaces in which anything of that name is mounted. */
function mountedSomewhere(name: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/mountinfo`, 'utf8').includes(name);
    } catch {
      return false;
    }
  });
}

t.test('a read-only volume is not written, remounted or taken down, not even by root', { skip }, async (t) => {
  for (const user of ['nobody', 'root']) {
    const { run, scans, staging } = await aNode(t);
    const script = `cat in/a.nii lung/b.nii; id -u; cd in
      for try in 'echo x > a.nii' 'echo x > new' 'rm a.nii' 'mount -o remount,bind,rw .' 'umount -l .' \\
        'mount --bind . /mnt' 'unshare -Urm mount -o remount,bind,rw .' 'mknod d b 1 1' 'echo x > /proc/1/root/x'; do
        sh -c "$try" >/dev/null && echo "did $try"
      done
      cd .. && echo made > file`;
    const volumes = [
      { name: 'scans', mount: 'in' },
      { name: 'scans', mount: 'lung', subpath: 'deep' },
    ];
    const { end, output } = await run(script, volumes, { user });
    t.match(end, { kind: 'exited', exitCode: 0 });
    t.equal(output, `a.nii\ndeep/b.nii\n${user === 'root' ? 0 : 65534}\n`);
    t.equal(readFileSync(join(scans, 'a.nii'), 'utf8'), 'a.nii\n');
    t.equal(readFileSync(join(staging.workspaceOf(id), 'file'), 'utf8'), 'made\n');
  }
});

t.test('volumes are at any absolute path, and leave no trace on the node', { skip }, async (t) => {
  const { run, scans, watched, shell, folder } = await aNode(t);
  const places = ['/berth-test/a/scans', '/berth-test/b', '/mnt/berth-test', '/srv', '/tmp/own/place', '/dev/shm/x'];
  const volumes = places.map((mount) => ({ name: 'kept', mount, writable: true }) as const);
  const script = `for place in ${places.join(' ')}; do cat $place/a.nii; echo $place >>$place/made; done
    echo "$BERTH_VOLUME_KEPT"; ls -d /etc /usr /var/tmp; ls -A / | grep berth-; ls -A /tmp; mkdir /berth-test/x || echo refused
    : >/var/tmp/berth-volume-witness-$$ && rm /var/tmp/berth-volume-witness-$$ && pwd`;
  const { end, output } = await run(script, volumes);
  t.match(end, { kind: 'exited', exitCode: 0 });
  const seen = ['/dev/shm/x', '/etc', '/usr', '/var/tmp', 'berth-test', id, 'own', 'refused', `/tmp/${id}`];
  t.equal(output, [...places.map(() => 'a.nii'), ...seen, ''].join('\n'));
  t.equal(readFileSync(join(scans, 'made'), 'utf8'), `${places.join('\n')}\n`, 'what it wrote is in the volume');
  // Other tests mount what is theirs meanwhile.
  for (const name of [scans, folder, ' /berth-test/', ' /srv ']) t.notOk(mountTable().includes(name), name);
  t.notOk(existsSync('/berth-test') || existsSync('/mnt/berth-test'));
  await until('no namespace has it any more', () => mountedSomewhere(scans).length === 0);
  await watched.driver.start(shell(neighbour, 'ls -d /berth-test /mnt/berth-test; ls -A /tmp /srv'));
  await watched.ended(neighbour);
  t.equal(await outputOf(watched, neighbour), `/srv:\n\n/tmp:\n${neighbour}\n`, 'nor has the next task');
});

t.test("a volume of memory has its size and is its task's alone, and goes with it", { skip }, async (t) => {
  const { run, folder } = await aNode(t);
  const script = `stat -c %a:%u fast; dd if=/dev/zero of=fast/a bs=1M count=1 && echo one
    dd if=/dev/zero of=fast/b bs=1M count=2 || echo full; grep -c 'size=2048k' /proc/self/mountinfo`;
  const { end, output } = await run(script, [{ name: 'fast', mount: 'fast', writable: true }]);
  t.match(end, { kind: 'exited', exitCode: 0 });
  t.equal(output, '700:65534\none\nfull\n1\n');
  t.notMatch(mountTable(), folder);
  await until('its memory is given back', () => mountedSomewhere('size=2048k').length === 0);
});

t.test("a volume may lie in the machine's /tmp or /dev/shm, which a task does not see", { skip }, async (t) => {
  for (const at of ['/tmp', '/dev/shm']) {
    const { run, scans } = await aNode(t, at);
    const volumes = [
      { name: 'scans', mount: 'in', subpath: 'deep' },
      { name: 'kept', mount: '/data/kept', writable: true },
    ] as const;
    const script = `cat in/b.nii; echo x > in/b.nii || echo read-only; echo x > /data/kept/new; ls -d ${scans} || echo hidden`;
    const { output } = await run(script, volumes);
    t.equal(output, 'deep/b.nii\nread-only\nhidden\n', at);
    t.equal(readFileSync(join(scans, 'new'), 'utf8'), 'x\n');
  }
});

t.test('what was changed after the agent looked is not mounted, and no link leads elsewhere', { skip }, async (t) => {
  const swapped = await aNode(t);
  const prepared = await swapped.stage('true', [{ name: 'scans', mount: 'in', subpath: 'deep' }]);
  renameSync(join(swapped.scans, 'deep'), join(swapped.scans, 'aside'));
  symlinkSync('/etc', join(swapped.scans, 'deep'));
  const { end } = await swapped.start(prepared);
  t.match(end, { kind: 'start-failed', message: /cannot mount at .*in: its source is not what it was/ });

  const lured = await aNode(t);
  const place = folderFor(t, '/srv');
  symlinkSync('/usr', join(place, 'link'));
  writeFileSync(join(place, 'file'), '');
  const refusals = { 'link/bin': /leads over a link/, 'link/new': /is a link/, file: /no folder/ };
  for (const [name, message] of Object.entries(refusals)) {
    const target = join(place, name);
    const wanted = { name: 'kept', mount: target, writable: true } as const;
    t.match((await lured.run('true', [wanted])).end, { kind: 'start-failed', message }, target);
    await lured.watched.driver.remove(id);
    lured.watched.events.length = 0;
  }
  t.strictSame(readdirSync(place).sort(), ['file', 'link']);
});
