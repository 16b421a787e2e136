import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { startCluster } from '../kit/cluster.js';
import { until } from '../kit/until.js';

// What a person sees of tasks' output, by the real client.
t.setTimeout(300_000);
const cluster = await startCluster();
t.teardown(() => cluster.stop());
const { berth, folder } = cluster;

const STAMP = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z /;

const ESTABLISHED = '01';

/** Connections that the coordinator has now. */
function connectionCount(): number {
  const port = `:${Number(new URL(cluster.url).port).toString(16).toUpperCase().padStart(4, '0')}`;
  const rows = readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((row) => row.trim().split(/\s+/));
  return rows.filter(([, local, , state]) => local?.endsWith(port) && state === ESTABLISHED).length;
}

async function submitted(...args: string[]): Promise<string> {
  return (await berth(['run', '-d', ...args])).stdout.trim();
}

t.test('each line is stamped with when it came, and both streams are in that order', async (t) => {
  const script = 'for n in 1 2 3; do echo out $n; sleep 1; echo err $n >&2; sleep 1; done; printf unfinished';
  const beganAt = Date.now();
  const jobId = await submitted('--', 'sh', '-c', script);
  t.match(await berth(['wait', jobId]), { exitCode: 0 });
  const { stdout, stderr } = await berth(['logs', '-t', jobId]);
  const lines = [...stdout.trimEnd().split('\n'), ...stderr.trimEnd().split('\n')];
  t.ok(
    lines.every((line) => STAMP.test(line)),
    stdout + stderr,
  );
  lines.sort();
  const texts = ['out 1', 'err 1', 'out 2', 'err 2', 'out 3', 'err 3', 'unfinished'];
  t.strictSame(
    lines.map((line) => line.replace(STAMP, '')),
    texts,
  );
  const times = lines.map((line) => Date.parse(line.split(' ', 1)[0] ?? ''));
  const [first = 0] = times;
  t.ok(first >= beganAt && first <= Date.now());
  const lastedMs = (times.at(-1) ?? 0) - first;
  t.ok(lastedMs > 5_000, `the last line after ${lastedMs} ms`);
  const since = new Date((times[4] ?? 0) - 150).toISOString();
  t.equal((await berth(['logs', jobId, '--since', since, '--stdout'])).stdout, 'out 3\nunfinished');
  t.equal((await berth(['logs', jobId, '--since', '1ms'])).stdout, '');
  t.equal((await berth(['logs', jobId, '--tail', '1', '--stderr'])).stderr, 'err 3\n');
});

t.test('tasks of an array are chosen, each line with the name of its task', async (t) => {
  const jobId = await submitted('--array', '1-4', '--', 'sh', '-c', 'echo a; echo $BERTH_TASK_INDEX');
  t.match(await berth(['wait', jobId]), { exitCode: 0 });
  t.equal((await berth(['logs', jobId, '--task', '2,4', '--tail', '1'])).stdout, '[2] 2\n[4] 4\n');
  t.equal((await berth(['logs', `${jobId}.3`, '--tail', '1'])).stdout, '3\n');
  t.match((await berth(['logs', jobId, '--task', '3', '-t'])).stdout, /^\[3\] \d{4}-\S+Z a\n\[3\] \d{4}-\S+Z 3\n$/);
  t.match(await berth(['logs', jobId, '--task', 'no.3']), { exitCode: 64, stderr: /its steps are main/ });
  t.match(await berth(['logs', `${jobId}.3`, '--task', '3']), { exitCode: 64, stderr: /names one already/ });
  t.match(await berth(['logs', jobId, '--since', 'noon']), { exitCode: 64, stderr: /since: .*neither 10m/ });
  t.match(await berth(['logs', jobId, '--tail', 'x']), { exitCode: 64, stderr: /--tail/ });
});

t.test(
  'several followers see everything from their own beginning on, through a restart of the coordinator',
  async (t) => {
    const go = join(folder, 'go');
    const script = 'echo 1; echo 2; echo 3; while [ ! -e "$0" ]; do sleep 0.1; done; echo 4; echo 5';
    const jobId = await submitted('--', 'sh', '-c', script, go);
    await until('the first lines are there', async () => (await berth(['logs', jobId])).stdout === '1\n2\n3\n');
    const following = [[], ['--tail', '1'], ['--tail', '0'], ['--since', '1h', '-t']].map((flags) =>
      berth(['logs', '-f', jobId, ...flags]),
    );
    // Each has its stream and its wait for the job's end, and the agent has one.
    await until('all are followed', () => connectionCount() > following.length * 2);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    await cluster.coordinator.kill();
    await cluster.coordinator.start();
    t.notOk(existsSync(go));
    writeFileSync(go, '');
    const [all, last, later, stamped] = (await Promise.all(following)).map(({ stdout }) => stdout);
    t.equal(all, '1\n2\n3\n4\n5\n');
    t.equal(last, '3\n4\n5\n');
    t.equal(later, '4\n5\n');
    t.equal(stamped?.replaceAll(/^\S+ /gm, ''), '1\n2\n3\n4\n5\n');
  },
);

t.test('what exceeds the limit of a job is dropped, and the gap is marked with its size', async (t) => {
  const jobId = await submitted('--log-limit', '1MiB', '--', 'sh', '-c', 'head -c 1500000 /dev/zero');
  t.match(await berth(['wait', jobId]), { exitCode: 0 });
  const dropped = 1_500_000 - 1024 ** 2;
  // Following waits for all of it, which may come after the job's end.
  for (const flags of [['-f'], [], ['--tail', '1']]) {
    const { stdout, stderr } = await berth(['logs', jobId, ...flags]);
    t.equal(stdout.length, 1024 ** 2, flags.join(' '));
    t.match(stderr, new RegExp(`${dropped} bytes of ${jobId}\\.0's stdout were dropped`), flags.join(' '));
  }
});

t.test(
  'output without room on its node is dropped from the middle, its size is told, and its task goes on',
  async (t) => {
    const own = await startCluster({ agentFlags: ['--spool-limit', '4MiB'] });
    t.teardown(() => own.stop());
    const [go, finish] = [join(own.folder, 'go'), join(own.folder, 'finish')];
    const script = `echo begin; until [ -e ${go} ]; do sleep 0.1; done; head -c 12M /dev/zero | tr '\\0' x
    echo; echo end; until [ -e ${finish} ]; do sleep 0.1; done; exit 3`;
    const jobId = (await own.berth(['run', '-d', '--', 'sh', '-c', script])).stdout.trim();
    await until('it runs', async () => (await own.berth(['logs', jobId])).stdout === 'begin\n');
    await own.coordinator.kill();
    writeFileSync(go, '');
    const output = join(own.folder, 'n1', 'process', 'output', `${jobId}.0#1.out`);
    const total = 'begin\n\nend\n'.length + 12 * 1024 ** 2;
    // It has that name once the agent has looked at it.
    await until('it has written all', () => statSync(output, { throwIfNoEntry: false })?.size === total);
    await until('the node has less', () => statSync(output).blocks * 512 <= 4 * 1024 ** 2);
    await own.coordinator.start();
    writeFileSync(finish, '');
    t.match(await own.berth(['wait', jobId]), { exitCode: 3 });
    const { stdout } = await own.berth(['logs', '-f', jobId]);
    const [remark = '', missing = '0'] = /\n\[berth: (\d+) bytes are missing here.*\]\n/.exec(stdout) ?? [];
    t.equal(stdout.length - remark.length + Number(missing), total, 'the mark says exactly how much');
    t.ok(Number(missing) > 8 * 1024 ** 2 && stdout.startsWith('begin\nxxx') && stdout.endsWith('xxx\nend\n'));
    await until('nothing is left of it', () => readdirSync(join(own.folder, 'n1', 'spool')).length === 0);
  },
);
