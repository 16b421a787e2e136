import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startCluster } from '../kit/cluster.js';
import { heldProgram } from '../kit/held-program.js';
import { detach, type MirrorBench, mirrorStory, reasonOf } from '../kit/mirror-story.js';
import { type Slurm, slurmTests, startSlurm } from '../kit/slurm.js';
import { countCalls, type SlurmCalls } from '../kit/slurm-calls.js';
import { until } from '../kit/until.js';

t.setTimeout(600_000);

const PERIOD_MS = 2_000;
const JOBS = 200;
const MAX_ARRAY_SIZE = 21;

// A person's client, a real coordinator without any node, and a real Slurm by its tools.
t.test('a Slurm cluster by its name', slurmTests, async (t) => {
  const bench = await aBench(t);
  t.test('an array with indexes that the site does not know', (t) => anArray(t, bench));
  t.test('a script of the user goes there as it is', (t) => ownScript(t, bench));
  t.test('what is wrong is told before anything is submitted', (t) => wrongJobs(t, bench));
  t.test('one task of an array is canceled at the site, and that is said', (t) => canceledThere(t, bench));
  t.test('a cancellation that the command holds out against is told again and ends it', (t) => holdsOut(t, bench));
  t.test('a node of the site that fails ends what may not run twice, and the rest waits again', (t) =>
    nodeFails(t, bench),
  );
  t.test('a coordinator does not start without a target where jobs are', (t) => missingTarget(t, bench));
  t.test('of several targets the best is taken', (t) => severalTargets(t, bench));
  mirrorStory(t, bench);
  t.test('a target that is away is passed over by what may go elsewhere', (t) => outage(t, bench));
  t.test('200 jobs at once cost one look a period', (t) => manyJobs(t, bench));
});

interface Bench extends MirrorBench {
  readonly slurm: Slurm;
  readonly calls: SlurmCalls;
  /** The coordinator's file of them. */
  readonly targets: string;
}

async function aBench(t: Test): Promise<Bench> {
  const slurm = startSlurm(t, { minJobAgeSeconds: 6, maxArraySize: MAX_ARRAY_SIZE });
  const calls = countCalls(slurm, ['squeue']);
  const sbatch = heldProgram('sbatch', slurm.folder, slurm.env.PATH ?? '');
  const targets = join(slurm.folder, 'targets.yaml');
  writeFileSync(targets, targetsOf(slurm));
  const cluster = await startCluster({
    agents: 0,
    coordinatorFlags: ['--targets', targets],
    coordinatorEnv: { ...slurm.env, PATH: `${calls.folder}:${sbatch.folder}:${slurm.env.PATH}` },
  });
  t.teardown(() => cluster.stop());
  return {
    ...cluster,
    ...{ slurm, calls, targets, running: 'hpc/lab', waiting: 'hpc/closed', shared: slurm.folder },
    holdSubmissions: sbatch.hold,
    inQueue: () => lines(slurm.tool('squeue', '--noheader', '--format=%i %T')),
    outage: { begin: slurm.stopController, end: slurm.startController },
  };
}

async function anArray(t: Test, bench: Bench): Promise<void> {
  const { berth } = bench;
  const command = ['sh', '-c', 'echo task $BERTH_TASK_INDEX'];
  const beyond = await detach(bench, '--target', 'hpc/lab', '--array', '99971-100000', '--', ...command);
  t.match(await berth(['wait', beyond]), { exitCode: 0 });
  const last = Array.from({ length: 30 }, (_, at) => `[${at + 99_971}] task ${at + 99_971}\n`);
  t.equal((await berth(['logs', beyond])).stdout, last.join(''));
}

async function ownScript(t: Test, { berth, slurm }: Bench): Promise<void> {
  const script = join(slurm.folder, 'own.sh');
  const says = 'echo $SLURM_JOB_ID on $SLURM_JOB_PARTITION, $BERTH_TASK_ID $(printf %s "$TOKEN" | wc -c)';
  writeFileSync(script, `#!/bin/bash\n#SBATCH --comment=mine --begin=now\n${says}\nscontrol show job $SLURM_JOB_ID\n`);
  await berth(['secrets', 'set', 'token'], { input: 'a-value-that-nobody-sees' });
  const result = await berth(['run', '--target', 'hpc/lab', '--secret', 'token=env:TOKEN', script]);
  t.match(result, { exitCode: 0, stdout: /^\d+ on main, j\d+\.0 24\n/ }, result.stderr);
  t.notMatch(result.stdout, /a-value-that-nobody-sees/, 'the system is not told');
}

async function wrongJobs(t: Test, { berth, slurm }: Bench): Promise<void> {
  const nextId = (): string | undefined => /^NEXT_JOB_ID.*$/m.exec(slurm.tool('scontrol', 'show', 'config'))?.[0];
  const before = nextId();
  const typo = await berth(['run', '--target', 'hpc/lbb', '--', 'true']);
  t.match(typo, { exitCode: 64, stderr: /no target "hpc\/lbb"; did you mean "hpc\/lab"\?/ });
  t.match(await berth(['run', '--target', 'hpc/typo', '--', 'true']), {
    exitCode: 64,
    stderr: /no partition "mian"/,
  });
  t.match(await berth(['run', '--target', 'hpc/lab', '--workdir', '/elsewhere', '--', 'true']), {
    stderr: /not below any shared path/,
  });
  t.type(before, 'string');
  t.equal(nextId(), before);
}

async function canceledThere(t: Test, bench: Bench): Promise<void> {
  const { berth, api, slurm, inQueue } = bench;
  const jobId = await detach(bench, '--target', 'hpc/lab', '--array', '0-1', '--retry', '1', '--', 'sleep', '600');
  await until('both run', () => inQueue().filter((line) => line.endsWith('RUNNING')).length === 2);
  const [arrayId = ''] = (inQueue()[0] ?? '').split('_');
  slurm.tool('scancel', `${arrayId}_1`);
  await until('it is told', async () => (await api.tasks(jobId))[1]?.reason === 'was canceled at the remote system');
  t.equal((await api.tasks(jobId))[0]?.state, 'placed');
  await berth(['cancel', jobId]);
  t.match(await berth(['wait', jobId]), { exitCode: 130 });
}

async function holdsOut(t: Test, bench: Bench): Promise<void> {
  const { berth, inQueue } = bench;
  const jobId = await detach(bench, '--target', 'hpc/lab', '--', 'sh', '-c', 'trap "" TERM; while :; do sleep 1; done');
  await until('it runs', () => inQueue().some((line) => line.endsWith('RUNNING')));
  await berth(['cancel', jobId]);
  await until('it is on its way out', () => inQueue().some((line) => line.endsWith('COMPLETING')));
  t.match(await berth(['cancel', jobId]), { exitCode: 0 });
  t.match(await berth(['wait', jobId]), { exitCode: 130 });
  t.strictSame(inQueue(), []);
}

async function nodeFails(t: Test, bench: Bench): Promise<void> {
  const { berth, api, slurm, inQueue } = bench;
  const once = await detach(bench, '--target', 'hpc/lab', '--retry', '1', '--', 'sleep', '600');
  const been = join(slurm.folder, 'been');
  const command = ['sh', '-c', `if mkdir ${been}; then sleep 600; fi; exit 4`];
  const again = await detach(bench, '--target', 'hpc/lab', '--', ...command);
  await until('both run', () => {
    return existsSync(been) && inQueue().filter((line) => line.endsWith('RUNNING')).length === 2;
  });
  slurm.tool('scontrol', 'update', 'NodeName=bench', 'State=DOWN', 'Reason=test');
  t.match(await berth(['wait', once]), { exitCode: 125 });
  t.match((await api.tasks(once))[0]?.reason, /a node of the site failed/);
  await until('the site has it wait again', async () =>
    /waits again in the queue of hpc\/lab/.test(await reasonOf(bench, again)),
  );
  const [remoteId = ''] = (inQueue()[0] ?? '').split(' ');
  await slurm.startAgain(remoteId);
  t.match(await berth(['wait', again]), { exitCode: 4 });
}

async function missingTarget(t: Test, bench: Bench): Promise<void> {
  const { berth, coordinator, targets } = bench;
  const jobId = await detach(bench, '--target', 'hpc/closed', '--', 'true');
  await until('it waits there', async () => /queue of hpc\/closed/.test(await reasonOf(bench, jobId)));
  await coordinator.kill();
  const file = readFileSync(targets, 'utf8');
  writeFileSync(targets, 'targets: []\n');
  await t.rejects(coordinator.start(), { message: `hpc/closed, where these jobs still are: ${jobId}\n` });
  writeFileSync(targets, file);
  await coordinator.start();
  t.match(await berth(['cancel', jobId]), { exitCode: 0 });
  t.match(await berth(['wait', jobId]), { exitCode: 130 });
}

/** A machine of a pool here, and Slurm: by turns one of them is busy, dearer, late or away. */
async function severalTargets(t: Test, bench: Bench): Promise<void> {
  const { berth, api, slurm, folder, inQueue } = bench;
  const file = join(folder, 'pool.json');
  const node = { cpus: 1, memory: '128MiB' };
  writeFileSync(
    file,
    JSON.stringify([{ name: 'small', provider: 'process', node, max: 1, warm: 1, prices: { onPerHour: 1 } }]),
  );
  t.match(await berth(['pools', 'apply', file]), { exitCode: 0 });
  await until('its machine is there', async () => /small-1 .* ready/.test((await berth(['nodes'])).stdout));
  const nodeOf = async (jobId: string): Promise<string | undefined> => {
    return (await api.json<{ attempts: { node: string }[] }>('GET', `/v1/jobs/${jobId}/tasks/0`)).attempts[0]?.node;
  };
  const say = async (command: 'why' | 'when', jobId: string): Promise<string> => {
    const { stdout } = await berth([command, jobId]);
    t.comment(`$ berth ${command} ${jobId}\n${stdout}`);
    return stdout;
  };

  const warm = await detach(bench, ...of());
  t.match(await berth(['wait', warm]), { exitCode: 0 });
  t.equal(await nodeOf(warm), 'small-1', 'a machine is warm');
  const long = await detach(bench, '--memory', '17MiB', '-t', '20m', '--target', 'pool/small', '--', 'sleep', '1000');
  await until('the machine is full', async () => (await nodeOf(long)) === 'small-1');
  const free = await detach(bench, ...of('-t', '5m'));
  t.match(await berth(['wait', free]), { exitCode: 0 });
  t.equal(await nodeOf(free), 'hpc/lab', 'Slurm is free');

  slurm.tool('sbatch', '--exclusive', '--time=60', '--output=/dev/null', '--chdir=/tmp', '--wrap=sleep 1000');
  await until('Slurm is full', () => inQueue().some((line) => line.endsWith('RUNNING')));
  const waiting = await detach(bench, ...of('-t', '6m'));
  const why = await say('why', waiting);
  t.match(why, /main goes to pool\/small: soonest, in \d+m/);
  t.match(why, / \* pool\/small +\d+m\d*s? +room in .*, 1 an hour\n {3}hpc\/lab +\S+ +Slurm estimates (1h|59m)/);
  t.match(
    await say('when', waiting),
    /The targets of main, as they are now:\n \* pool\/small .*\n {3}hpc\/lab .*Slurm/,
  );
  const cheap = await detach(bench, ...of('-t', '6m', '--prefer', 'price'));
  await until('it is in the queue there', async () => /queue of hpc\/lab/.test(await reasonOf(bench, cheap)));
  t.match(await say('why', cheap), /main goes to hpc\/lab: cheapest, 0\.1 an hour/);
  t.match(await say('when', cheap), /main +1 +\S.* waits in the queue of hpc\/lab/);
  const due = await detach(bench, ...of('-t', '6m', '--deadline', '40m'));
  t.match(await say('why', due), /main goes to pool\/small: cheapest of those done by the deadline, 1 an hour/);
  t.match((await berth(['plan', ...of('-t', '6m')])).stdout, /main goes to pool\/small: soonest/);

  const jobIds = [waiting, cheap, due, long];
  t.match(await berth(['cancel', ...jobIds]), { exitCode: 0 });
  slurm.tool('scancel', '--user', userInfo().username);
  for (const jobId of jobIds) t.match(await berth(['wait', jobId]), { exitCode: 130 });
}

/** Flags of a job with two targets, which runs `true`. */
function of(...more: string[]): string[] {
  return ['--memory', '16MiB', '--target', 'pool/small', '--target', 'hpc/lab', ...more, '--', 'true'];
}

async function outage(t: Test, bench: Bench): Promise<void> {
  const { berth, slurm } = bench;
  const [begun, go] = [join(slurm.folder, 'begun-outage'), join(slurm.folder, 'go-outage')];
  const command = ['sh', '-c', `touch ${begun}; until [ -e ${go} ]; do sleep 0.1; done; exit 5`];
  const jobId = await detach(bench, '--target', 'hpc/lab', '--', ...command);
  // A controller that ends while a node gets a job may find it missing there when it is back, and ends it.
  await until('it runs', () => existsSync(begun));
  await until('it is there', async () => /\(job \d+/.test(await reasonOf(bench, jobId)));
  slurm.stopController();
  await until('that is said', async () =>
    /hpc\/lab cannot be asked \(unavailable\)/.test(await reasonOf(bench, jobId)),
  );
  const alone = await detach(bench, ...of('-t', '7m', '--prefer', 'price'));
  const why = (await berth(['why', alone])).stdout;
  t.match(why, /main goes to pool\/small: the only one .*\n.*\n {3}hpc\/lab +- +cannot be asked \(unavailable\)/);
  writeFileSync(go, '');
  slurm.startController();
  t.match(await berth(['wait', jobId]), { exitCode: 5 });
}

async function manyJobs(t: Test, { api, calls }: Bench): Promise<void> {
  const before = looks(calls);
  const begunAt = performance.now();
  const command = ['sh', '-c', 'sleep 1'];
  const jobs = await Promise.all(
    Array.from({ length: JOBS }, () =>
      api.json<{ job: { id: string } }>('POST', '/v1/jobs', { target: 'hpc/lab', command }),
    ),
  );
  for (const { job } of jobs) {
    const done = await api.json<{ outcome: string }>('GET', `/v1/jobs/${job.id}?waitFor=finished&timeout=40s`);
    t.equal(done.outcome, 'succeeded');
  }
  const periods = Math.ceil((performance.now() - begunAt) / PERIOD_MS) + 1;
  const looked = looks(calls) - before;
  t.comment(`${looked} looks in ${periods} periods`);
  t.ok(looked <= periods, `${looked} looks in ${periods} periods`);
}

/** How often the states of all jobs were asked for. */
function looks(calls: SlurmCalls): number {
  return calls.made().filter(({ args }) => !args.includes('--name')).length;
}

function targetsOf({ folder }: Slurm): string {
  const common = `backend: slurm-local, stagingRoot: ${folder}/jobs, period: ${PERIOD_MS}ms`;
  return `targets:
  - {name: lab, ${common}, partition: main, pricePerCoreHour: 0.1, paths: [{local: /shared, remote: ${folder}}]}
  - {name: closed, ${common}, partition: closed}
  - {name: typo, ${common}, partition: mian}
`;
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}
