import { writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startCluster } from '../kit/cluster.js';
import { detach, type MirrorBench, mirrorStory, reasonOf } from '../kit/mirror-story.js';
import { startProxy } from '../kit/proxy.js';
import { slurmTests, startSlurm } from '../kit/slurm.js';
import { until } from '../kit/until.js';

t.setTimeout(300_000);

const LONG_SECONDS = 3_600;
/** So long that a job is running by then, also on a busy machine, and so short that it ends while that waits. */
const SHORT_SECONDS = 10;
const EXPIRY_LIMIT_MS = 60_000;

// A person's client, a real coordinator without any node, and a real slurmrestd.
t.test('Slurm over slurmrestd by its name', slurmTests, async (t) => {
  const bench = await aBench(t);
  mirrorStory(t, bench);
  t.test('a token that expires while a job runs pauses it visibly, and a new one goes on at once', (t) =>
    tokenExpires(t, bench),
  );
});

interface Bench extends MirrorBench {
  /** Has the coordinator use a token that is good for so long. */
  renewToken(seconds: number): Promise<void>;
}

async function aBench(t: Test): Promise<Bench> {
  const slurm = startSlurm(t, { rest: true });
  const proxy = await startProxy(t, slurm.restUrl);
  const user = userInfo().username;
  const targets = join(slurm.folder, 'targets.yaml');
  const common = `backend: slurm-rest, endpoint: "${proxy.url}", user: ${user}, credential: token, period: 1s`;
  writeFileSync(
    targets,
    `targets:
  - {name: rest, ${common}, stagingRoot: ${slurm.folder}/jobs, partition: main}
  - {name: shut, ${common}, stagingRoot: ${slurm.folder}/jobs, partition: closed}
`,
  );
  const cluster = await startCluster({ agents: 0, coordinatorFlags: ['--targets', targets] });
  t.teardown(() => cluster.stop());
  const renewToken = async (seconds: number): Promise<void> => {
    const made = slurm.tool('scontrol', 'token', `lifespan=${seconds}`, `username=${user}`);
    await cluster.berth(['secrets', 'set', 'token'], { input: made.trim().replace('SLURM_JWT=', '') });
  };
  await renewToken(LONG_SECONDS);
  return {
    ...cluster,
    ...{ running: 'hpc/rest', waiting: 'hpc/shut', shared: slurm.folder, renewToken },
    holdSubmissions: (isHeld) => {
      proxy.losesAnswers = isHeld;
    },
    inQueue: () => slurm.tool('squeue', '--noheader', '--format=%i %T').split('\n').filter(Boolean),
    outage: { begin: slurm.stopController, end: slurm.startController },
  };
}

async function tokenExpires(t: Test, bench: Bench): Promise<void> {
  const { berth, api, shared, inQueue, renewToken } = bench;
  await renewToken(SHORT_SECONDS);
  const go = join(shared, 'go-on');
  const script = `while [ ! -e ${go} ]; do sleep 0.1; done; echo done; exit 6`;
  const jobId = await detach(bench, '--target', 'hpc/rest', '--retry', '1', '--', 'sh', '-c', script);
  await until('it runs', async () => /^runs at hpc\/rest/.test(await reasonOf(bench, jobId)));
  const isSaid = /hpc\/rest cannot be asked \(credentials\): the token has expired.*; the job goes on there/;
  await until('that is said', async () => isSaid.test(await reasonOf(bench, jobId)), EXPIRY_LIMIT_MS);
  t.match((await berth(['why', jobId])).stdout, isSaid);
  t.match((await berth(['show', jobId])).stdout, isSaid);
  const waiting = await detach(bench, '--target', 'hpc/rest', '--', 'true');
  const isNext = /hpc\/rest cannot be asked \(credentials\).*; it is submitted later/;
  await until('the next one waits too', async () => isNext.test(await reasonOf(bench, waiting)));
  t.equal(inQueue().length, 1, 'the job is still there');
  t.equal((await api.tasks(jobId))[0]?.state, 'placed');
  writeFileSync(go, '');
  await until('it has ended there', () => inQueue().length === 0);
  t.match(await reasonOf(bench, jobId), isSaid);
  const renewedAt = performance.now();
  await renewToken(LONG_SECONDS);
  t.match(await berth(['wait', jobId, waiting]), { exitCode: 6 });
  t.ok(performance.now() - renewedAt < 25_000, 'sooner than it would have been tried anyway');
  t.equal((await berth(['logs', jobId])).stdout, 'done\n');
}
