import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { connectorFiles, type RunningConnector, startConnector } from '../kit/connector.js';
import { survivesKills } from '../kit/killed-connector.js';
import { slurmTests, startSlurm } from '../kit/slurm.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { until } from '../kit/until.js';

t.setTimeout(300_000);

const IS_LONG = process.env.BERTH_TEST_LONG === '1';
const KILLED_RUNS = IS_LONG ? 40 : 4;
const TOKEN_SECONDS = 3_600;

const CASES: Readonly<Record<string, (t: Test, site: ReturnType<typeof startSite>) => Promise<void>>> = {
  'a job runs with its files there and back, its output is printed, its code is the exit code': async (
    t,
    { folder, run },
  ) => {
    const bytes = Buffer.from(Array.from({ length: 3_000_000 }, (_, at) => (at * 31) % 253));
    writeFileSync(join(folder, 'big'), bytes);
    const job = {
      command: ['sh', '-c', 'cat small big >both; echo out; echo err >&2; exit 7'],
      inputs: [
        { content: 'small\n', to: 'small' },
        { from: `file://${folder}/big`, to: 'big' },
      ],
      outputs: [{ path: 'both', as: 'result/b' }],
    };
    const connector = run('files', job, ['--print-logs', '--state-dir', join(folder, 'state')]);
    t.equal(await connector.exitCode, 7, connector.stderr());
    t.equal(connector.stdout(), 'out\n');
    t.match(connector.stderr(), /submitted as job \d+[\s\S]*^err$[\s\S]*failed with exit code 7/m);
    t.ok(readFileSync(join(folder, 'files/out/result/b')).equals(Buffer.concat([Buffer.from('small\n'), bytes])));

    const again = run('files', job, ['--print-logs', '--state-dir', join(folder, 'state')]);
    t.equal(await again.exitCode, 7, 'the same name is the same job, long ended');
    t.equal(again.stdout(), '', 'and nothing is printed twice');
    const other = run('files', { command: ['true'] }, ['--state-dir', join(folder, 'state')]);
    t.equal(await other.exitCode, 64);
    t.match(other.stderr(), /belongs to another job/);
  },

  'an array brings the outputs of each task, and the work directory goes when all is well': async (
    t,
    { folder, target, run, workOf },
  ) => {
    const job = {
      array: '2-3',
      script: 'cat in >"o$BERTH_TASK_INDEX"',
      inputs: [{ content: 'x', to: 'in' }],
      outputs: [{ path: 'o*', required: true }],
    };
    const connector = run('array', job, [], { ...target, keep: 'failed' });
    t.equal(await connector.exitCode, 0, connector.stderr());
    t.equal(readFileSync(join(folder, 'array/out/3/o3'), 'utf8'), 'x');
    t.notOk(existsSync(workOf('array')));
    const missing = run('missing', { command: ['true'], outputs: [{ path: 'nothing', required: true }] });
    t.equal(await missing.exitCode, 125);
    t.match(missing.stderr(), /it did not leave nothing of task 0/);
  },

  'a signal cancels the remote job, running or not yet': async (t, { target, run }) => {
    const running = run('running', { command: ['sleep', '60'] });
    await until('it runs', () => /is running/.test(running.stderr()));
    running.child.kill('SIGTERM');
    t.equal(await running.exitCode, 130, running.stderr());
    const waiting = run('waiting', { command: ['true'] }, [], { ...target, partition: 'closed' });
    await until('it waits', () => /is pending \(PartitionDown\)/.test(waiting.stderr()));
    waiting.child.kill('SIGINT');
    t.equal(await waiting.exitCode, 130, waiting.stderr());
    t.match(waiting.stderr(), /the job was canceled/);
  },

  'killed at any point and started again, there is one remote job, which ran once': async (t, site) => {
    const overRest = {
      ...site,
      run: (name: string, job: object, more: readonly string[]) =>
        site.run(name, job, [...more, ...site.secrets], site.rest),
    };
    // Each way with a memory of its own and without.
    await survivesKills(t, (seed) => (seed % 4 < 2 ? site : overRest), [...Array(KILLED_RUNS).keys()]);
  },

  'a job that ended and was forgotten while nobody looked still tells its code': async (t, { run, workOf, idsOf }) => {
    const job = { command: ['sh', '-c', 'sleep 0.2; exit 9'] };
    const first = run('forgotten', job);
    await until('it was submitted', () => /submitted/.test(first.stderr()));
    first.child.kill('SIGKILL');
    await first.exitCode;
    await until(
      'Slurm has forgotten it',
      () => existsSync(join(workOf('forgotten'), 'marks/0.ended.9')) && idsOf('forgotten').length === 0,
    );
    const second = run('forgotten', job);
    t.equal(await second.exitCode, 9, second.stderr());
    t.notMatch(second.stderr(), /submitted/);
  },

  'a controller that is down for a while is waited for, with its cause': async (t, { slurm, run, folder }) => {
    const go = `${folder}/outage.go`;
    const command = ['sh', '-c', `until [ -e ${go} ]; do sleep 0.1; done; exit 6`];
    const connector = run('outage', { command });
    await until('it runs', () => /is running/.test(connector.stderr()));
    slurm.stopController();
    await until('it says so', () =>
      /paused \(unavailable\): .*; tried again in \d+ s, and the job goes on/.test(connector.stderr()),
    );
    writeFileSync(go, '');
    slurm.startController();
    t.equal(await connector.exitCode, 6, connector.stderr());
  },

  'what is wrong is said before anything is submitted': async (t, { target, run, idsOf }) => {
    const cases: [string, string | object, object, RegExp][] = [
      [
        'partition',
        { command: ['x'] },
        { ...target, partition: 'mian' },
        /there is no partition "mian".*did you mean "main"/,
      ],
      ['shebang', '#SBATCH -n 1\nx\n', target, /line 1: .*begins with a line like #!/],
      [
        'outside',
        { command: ['x'], workdir: '/home' },
        { ...target, paths: [{ local: '/data', remote: '/d' }] },
        /workdir: \/home is not below any shared path/,
      ],
      [
        'key',
        { command: ['x'] },
        { ...target, partitoin: 'x' },
        /partitoin: there is no such field; did you mean "partition"/,
      ],
      [
        'input',
        { command: ['x'], inputs: [{ from: 'https://x/y', to: 'y' }] },
        target,
        /https:\/\/x\/y cannot be fetched here/,
      ],
    ];
    await Promise.all(
      cases.map(async ([name, job, where, message]) => {
        const connector = run(`bad-${name}`, job, [], where);
        t.equal(await connector.exitCode, 64, name);
        t.match(connector.stderr(), message, name);
        t.same(idsOf(`bad-${name}`), [], name);
      }),
    );
  },
};

t.test('the connector at a real Slurm', slurmTests, async (t) => {
  const site = startSite(t);
  for (const [title, act] of Object.entries(CASES)) await t.test(title, (t) => act(t, site));
});

/** A Slurm, and the connector at it. */
function startSite(t: Test) {
  const slurm = startSlurm(t, { rest: true, minJobAgeSeconds: 3 });
  const folder = temporaryFolder(t);
  const target = {
    backend: 'slurm-local',
    stagingRoot: `${slurm.folder}/jobs`,
    partition: 'main',
    keep: 'always',
    period: '500ms',
  };
  const user = userInfo().username;
  const { backend: _, ...common } = target;
  const rest = { ...common, backend: 'slurm-rest', endpoint: slurm.restUrl, user, credential: 'token' };
  const token = slurm.tool('scontrol', 'token', `lifespan=${TOKEN_SECONDS}`, `username=${user}`);
  writeFileSync(join(folder, 'token'), token.replace('SLURM_JWT=', ''));
  const run = (
    name: string,
    job: string | object,
    more: readonly string[] = [],
    where: object = target,
  ): RunningConnector =>
    startConnector(['run', ...connectorFiles(join(folder, name), where, job), '--name', name, ...more], slurm.env);
  const workOf = (name: string): string => join(target.stagingRoot, `berth-${name}`);
  const idsOf = (name: string): string[] =>
    slurm
      .tool('squeue', '--states=all', '--noheader', '--format=%A', `--name=berth-${name}`)
      .split('\n')
      .filter(Boolean);
  return { slurm, folder, target, rest, secrets: ['--secrets-dir', folder], run, workOf, idsOf };
}
