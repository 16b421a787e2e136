import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { startCluster } from '../kit/cluster.js';
import { until } from '../kit/until.js';

// What a person sees: the real client against a real coordinator and a real agent.
const cluster = await startCluster();
t.teardown(() => cluster.stop());
const { berth, api, folder } = cluster;

const fileOf = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

t.test('run shows what the command writes and ends with its exit code', async (t) => {
  const hello = await berth(['run', '--', 'sh', '-c', 'echo hello; echo oops >&2']);
  t.match(hello, { exitCode: 0, stdout: 'hello\n', stderr: /oops/ });
  t.match(await berth(['run', '--wait', '--', 'sh', '-c', 'exit 7']), { exitCode: 7 });
  t.match(await berth(['run', '--wait', '--', 'sh', '-c', 'kill -9 $$']), { exitCode: 137 });
  t.match(await berth(['run', '--wait', '--', '/no/such/program']), { exitCode: 127 });
});

t.test('an argument reaches the command as it was given', async (t) => {
  const strange = ['two words', '$HOME', '"', "it's", '*', 'ü\nline'];
  const result = await berth(['run', '--', 'printf', '[%s]', ...strange]);
  t.equal(result.stdout, strange.map((argument) => `[${argument}]`).join(''), result.stderr);
});

t.test('an array runs every task once and its logs are in order', async (t) => {
  const command = ['sh', '-c', 'echo task $BERTH_TASK_INDEX of $BERTH_TASK_COUNT'];
  const submitted = await berth(['run', '--detach', '--array', '1-100', '--name', 'hundred', '--', ...command]);
  t.match(submitted, { exitCode: 0, stdout: /^j\d+\n$/ }, 'without a terminal the id is all that is printed');
  t.match(await berth(['wait', submitted.stdout.trim()]), { exitCode: 0 });
  const logs = await berth(['logs', '@hundred']);
  const expected = Array.from({ length: 100 }, (_, at) => `[${at + 1}] task ${at + 1} of 100\n`);
  t.equal(logs.stdout, expected.join(''), logs.stderr);
  const tasks = await api.tasks(submitted.stdout.trim());
  t.ok(tasks.length === 100 && tasks.every(({ attempt, exitCode }) => attempt === 1 && exitCode === 0));
});

t.test('an array ends with its highest exit code', async (t) => {
  const result = await berth(['run', '--wait', '--array', '0-5', '--', 'sh', '-c', 'exit $BERTH_TASK_INDEX']);
  t.equal(result.exitCode, 5, result.stderr);
});

t.test('pools are tried out on jobs: those of a scenario, and those of the past', async (t) => {
  const pool = '{ name: p, node: { cpus: 4, memory: 16GiB }, max: 3, times: { boot: 100s, resume: 20s, off: 10s } }';
  const scenario = `pools: [${pool}]\njobs: { j: { run: 5m } }\narrivals: a.csv\n`;
  fileOf('a.csv', 'id,type,submit_seconds\none,j,10\n');
  const svg = join(folder, 'figure.svg');
  const made = await berth(['simulate', fileOf('scenario.yaml', scenario), '-o', 'json', '--svg', svg]);
  t.match(JSON.parse(made.stdout), { jobs: [{ id: 'one', submit: 10, start: 110, end: 410 }], powerOns: 1 });
  t.match(readFileSync(svg, 'utf8'), /^<svg .*Nodes by state/s);
  t.match(await berth(['simulate', join(folder, 'scenario.yaml'), '--policy', 'clues']), { exitCode: 0 });

  const job = await berth(['run', '-d', '--name', 'replayed', '--', 'sleep', '0.3']);
  t.match(await berth(['wait', job.stdout.trim()]), { exitCode: 0 });
  const pools = fileOf('pools.yaml', `pools:\n  - ${pool.replace('{', '{ provider: docker,')}\n`);
  const replay = await berth(['simulate', '--from-history', '1d', '--pools', pools, '-o', 'json']);
  t.equal(replay.exitCode, 0, replay.stderr);
  const { jobs } = JSON.parse(replay.stdout) as { jobs: { id: string; type: string; start: number; end: number }[] };
  const found = jobs.find(({ id }) => id === job.stdout.trim());
  t.match(found, { type: 'replayed' });
  t.ok(found && found.end - found.start >= 0.3 && found.end - found.start < 60, JSON.stringify(found));

  t.match(await berth(['simulate']), { exitCode: 64, stderr: /there is no scenario to simulate/ });
  t.match(await berth(['simulate', join(folder, 'a.csv')]), { exitCode: 64, stderr: /the specification is invalid/ });
  t.match(await berth(['simulate', '--allow', 'suspnd', 'x']), { exitCode: 64, stderr: /did you mean "suspend"/ });
});

t.test('cancel ends the whole tree: children, other sessions, and what ignores SIGTERM', async (t) => {
  const pids = join(folder, 'pids');
  const script = `
    sleep 1000 & echo $! >>"$0"
    setsid sleep 1000 & echo $! >>"$0"
    sh -c 'trap "" TERM; echo $$ >>"$0"; while :; do sleep 1; done' "$0" &
    (setsid sh -c 'echo $$ >>"$0"; exec sleep 1000' "$0" &)
    wait`;
  const submitted = await berth(['run', '-d', '--stop-grace', '1s', '--', 'sh', '-c', script, pids]);
  const jobId = submitted.stdout.trim();
  const started = (): string[] => (existsSync(pids) ? readFileSync(pids, 'utf8').trim().split('\n') : []);
  await until('the task has started all its processes', () => started().length === 4);
  t.match(await berth(['cancel', jobId, '--reason', 'test']), { exitCode: 0 });
  t.match(await berth(['wait', jobId]), { exitCode: 130 });
  t.same(started().filter(isAlive), []);
  t.match(await api.json('GET', `/v1/jobs/${jobId}`), { state: 'finished', outcome: 'canceled', reason: 'test' });
});

/** A zombie is dead: it only waits for its parent, which is not ours, to take note. */
function isAlive(pid: string): boolean {
  const status = `/proc/${pid}/status`;
  return existsSync(status) && !/^State:\s+Z/m.test(readFileSync(status, 'utf8'));
}

t.test('a YAML file, a script with directives and stdin are submitted alike', async (t) => {
  const yaml = fileOf(
    'two-steps.yaml',
    'steps:\n  - {name: a, command: [echo, first]}\n  - {name: b, needs: a, command: [echo, second]}\n',
  );
  t.match(await berth(['submit', yaml, '--wait']), { exitCode: 0 });
  t.match(await berth(['logs', 'last']), { stdout: /first[\s\S]*second/ });

  const script = fileOf('job.sh', '#!/bin/sh\n#BERTH --name from-script --array 3-4\nexit $BERTH_TASK_INDEX\n');
  t.match(await berth(['submit', script, '--wait']), { exitCode: 4 });
  t.match(await berth(['show', '@from-script']), { exitCode: 0, stdout: /from-script/ });

  t.match(await berth(['submit', '-', '--wait'], { input: 'command: [sh, -c, exit 9]\n' }), { exitCode: 9 });
});

t.test('a mistake in a file is shown with its place and a remedy', async (t) => {
  const wrong = fileOf('wrong.yaml', 'name: x\ncomand: [echo]\n');
  const result = await berth(['submit', wrong]);
  t.match(result, { exitCode: 64, stdout: '', stderr: /2:1[\s\S]*command/ });
  t.match(await berth(['run', '--cpus', '1000', '--', 'true']), { exitCode: 64 }, 'no node could ever hold it');
});

t.test('a wrong token, an absent coordinator and a passed time-out have exit codes of their own', async (t) => {
  t.match(await berth(['ls'], { env: { BERTH_TOKEN: 'berth_admin_wrong' } }), { exitCode: 77 });
  t.match(await berth(['ls'], { env: { BERTH_URL: 'http://127.0.0.1:1' } }), {
    exitCode: 69,
    stderr: /127\.0\.0\.1:1/,
  });
  const late = await berth(['run', '--wait', '--timeout', '500ms', '--name', 'late', '--', 'sleep', '600']);
  t.match(late, { exitCode: 124, stderr: /berth/ }, 'and it says how to come back');
  t.match(await berth(['show', '@late', '-o', 'json']), { stdout: /"active"/ }, 'the job itself goes on');
  t.match(await berth(['cancel', '@late', '--reason', 'test']), { exitCode: 0 });
  t.match(await berth(['wait', '@late']), { exitCode: 130 });
});

t.test('a drained node takes nothing, and why says so until it is opened', async (t) => {
  t.match(await berth(['drain', 'n1', '--reason', 'cleaning']), { exitCode: 0 });
  const submitted = await berth(['run', '-d', '--', 'true']);
  const jobId = submitted.stdout.trim();
  await until('the job has a reason to wait', async () => (await berth(['why', jobId])).stdout.includes('n1'));
  t.match(await berth(['ls']), { stdout: new RegExp(`${jobId}.*`) });
  t.match(await berth(['open', 'n1']), { exitCode: 0 });
  t.match(await berth(['wait', jobId]), { exitCode: 0 });
  const long = (await berth(['run', '-d', '--', 'sleep', '600'])).stdout.trim();
  await until('it runs', async () => (await berth(['show', `${long}.0`])).stdout.includes('running'));
  const emptied = await berth(['drain', 'n1', '--reason', 'cleaning', '--deadline', '1s', '--wait']);
  t.match(emptied, {
    exitCode: 0,
    stdout: 'n1 draining\nn1 drained\n',
    stderr: new RegExp(`1 task left \\(${long}.0#1\\)`),
  });
  t.match(await berth(['cancel', long, '--reason', 'test']), { exitCode: 0 });
  t.match(await berth(['open', 'n1']), { exitCode: 0 });
});

t.test('the daemons stop when asked and leave no process behind', async (t) => {
  for (const daemon of [...cluster.agents, cluster.coordinator]) t.equal(await daemon.stop(), 0, daemon.name);
  await until('everything of the cluster has ended', () => cluster.leftovers().length === 0);
});
