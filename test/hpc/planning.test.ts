import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { readAccounting, readQueue } from '../../coordinator/hpc/backends/slurm/slurm-tables.js';
import { complaintOf, readJobs, readRecords } from '../../coordinator/hpc/backends/slurm-rest/rest-answers.js';
import { planOwnScript } from '../../coordinator/hpc/own-script.js';
import { mapPath } from '../../coordinator/hpc/paths.js';
import { planJob } from '../../coordinator/hpc/plan-job.js';
import { quoteArgv } from '../../coordinator/hpc/quote.js';
import { parseTarget } from '../../coordinator/hpc/read-target.js';
import type { Submission } from '../../coordinator/hpc/submission.js';
import type { HpcTarget } from '../../coordinator/hpc/target.js';
import { isRefusal, type Refusal } from '../../shared/errors.js';
import { parseJobSpec } from '../../shared/job-spec/parse.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const aTarget = (more: Record<string, unknown> = {}): HpcTarget =>
  taken(parseTarget({ backend: 'slurm-local', stagingRoot: '/scratch/ann', ...more }));
function taken<Value>(value: Value | Refusal): Value {
  if (isRefusal(value)) throw new Error(value.detail);
  return value;
}

function problems(value: unknown): string {
  return isRefusal(value) ? value.detail : 'accepted';
}

function plan(input: Record<string, unknown>, target = aTarget()): Submission | Refusal {
  return planJob(taken(parseJobSpec(input)), target, { tag: 'tag' });
}

t.test('a shell receives any argument as it was', async () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\0', '')),
        { minLength: 1, maxLength: 5 },
      ),
      (argv) => {
        const said = execFileSync('/bin/sh', ['-c', `printf '%s\\0' ${quoteArgv(argv)}`], { encoding: 'utf8' });
        const sent = argv.map((text) => Buffer.from(text).toString());
        return said === sent.map((text) => `${text}\0`).join('');
      },
    ),
    { numRuns: 30, seed: 1 },
  );
});

t.test('a job is asked for with all that it needs, in the terms of the site', async (t) => {
  const submission = taken(
    plan(
      {
        name: 'n',
        array: '1-9:2',
        maxParallel: 3,
        command: ['./run', "it's"],
        resources: {
          cpus: 1.5,
          memory: '2GiB',
          disk: '1GiB',
          gpus: { count: 2, model: 'a100' },
          licences: { matlab: 1 },
        },
        timeLimit: '90s',
        exclusive: true,
        retry: { maxAttempts: 1 },
      },
      aTarget({ account: 'lab', partition: 'gpu', setup: 'module load x' }),
    ),
  );
  t.same(submission.options, {
    account: 'lab',
    partition: 'gpu',
    cpus: 2,
    memoryMiB: 2048,
    diskMiB: 1024,
    gpus: { count: 2, model: 'a100' },
    licences: { matlab: 1 },
    isExclusive: true,
    timeLimitMs: 90_000,
    array: '1-9:2',
    maxParallel: 3,
    mayRequeue: 'no',
  });
  t.match(submission.script, '\nmodule load x\n');
  t.match(submission.script, `'./run' 'it'\\''s'\nfinish "$?"\n`);
});

t.test('containers are run by what the site has', async (t) => {
  const step = { image: 'python:3.12', driver: 'docker', command: ['python', '-V'], env: { A: 'secret value' } };
  const run = (container: string): string =>
    taken(plan(step, aTarget({ container })))
      .script.split('\n')
      .find((line) => line.includes('python:3.12')) ?? '';
  t.equal(run('apptainer'), `apptainer exec --bind "$PWD" --pwd "$PWD" 'docker://python:3.12' 'python' '-V'`);
  t.match(
    run('podman'),
    /^podman run --rm --cidfile "\$work\/container.\$index" --env 'A' .*--env 'BERTH_WORKSPACE' --volume "\$PWD:\$PWD" --workdir "\$PWD" --entrypoint '' 'python:3.12' 'python' '-V' &$/,
  );
  t.equal(
    run('charliecloud'),
    `USER="\${USER:-$(id -un)}" ch-run --bind "$PWD:/mnt/0" --set-env=BERTH_WORKSPACE=/mnt/0 --cd "/mnt/0" 'python:3.12' -- 'python' '-V'`,
  );
  const withGpu = { ...step, resources: { gpus: 1 } };
  const gpuFlags = { apptainer: '--nv', podman: '--device nvidia.com/gpu=all' };
  for (const [container, flag] of Object.entries(gpuFlags)) {
    t.match(taken(plan(withGpu, aTarget({ container }))).script, new RegExp(` ${flag} `), container);
  }
  t.match(problems(plan(step)), /image: hpc\/slurm-local has no "container"/);
});

t.test('what a remote system cannot be asked for is refused by name, all of it together', async (t) => {
  const input = {
    command: ['x'],
    priority: 'high',
    gang: true,
    constraints: ['arch = x64'],
    resources: { gpus: { share: 0.5 } },
    workdir: '/home/x',
  };
  const text = problems(plan(input, aTarget({ paths: [{ local: '/data', remote: '/net/data' }] })));
  for (const field of ['priority', 'gang', 'constraints', 'resources.gpus', 'workdir']) {
    t.match(text, `${field}: `, field);
  }
  const steps = [
    { name: 'a', command: ['x'] },
    { name: 'b', command: ['x'] },
  ];
  t.match(problems(plan({ steps })), /has one step, and this one has 2/);
});

t.test(
  "a user's own script runs as it is, with its directives, and account and partition where it has none",
  async (t) => {
    const folder = temporaryFolder(t);
    const text =
      "#!/bin/bash\n# mine\n#SBATCH -p long\n#SBATCH --array=3-4%1\n\necho 'it'\"'\"'s' \\\n $0\n#SBATCH --late\n";
    const target = aTarget({ stagingRoot: folder, account: 'lab', partition: 'main' });
    const { script, options, work } = taken(planOwnScript(text, target, { tag: 'tag' }));
    t.same(options, { account: 'lab', array: '3-4', maxParallel: 1 });
    t.same(script.split('\n').slice(0, 3), ['#!/bin/sh', '#SBATCH -p long', '#SBATCH --array=3-4%1']);
    mkdirSync(work);
    writeFileSync(join(work, 'job.sh'), script);
    execFileSync('/bin/sh', [join(work, 'job.sh')], { env: { PATH: process.env.PATH, SLURM_JOB_ID: '5' } });
    t.equal(readFileSync(join(work, 'files/0/.berth-task'), 'utf8'), text, 'byte for byte');
    t.same(readdirSync(join(work, 'marks')).sort(), ['0.ended.0', '0.owner', '0.started.5']);
    t.equal(readFileSync(join(work, 'out.0'), 'utf8'), `it's ${work}/files/0/.berth-task\n`);

    t.match(
      problems(planOwnScript('#SBATCH -n 1\necho x\n', target, { tag: 'tag' })),
      /line 1: "#SBATCH -n 1" is no interpreter; .*#!\/bin\/bash/,
    );
    t.match(problems(planOwnScript('#!/bin/sh\r\nx\r\n', target, { tag: 'tag' })), /Windows line ends/);
  },
);

t.test('a target is read with all its problems together', async (t) => {
  const wrong = {
    backend: 'slurm-shh',
    stagingRoot: 'scratch',
    acount: 'x',
    host: 'y',
    period: { min: '90s', max: '10s' },
    partition: '--all',
    ssh: { host: 'a', user: 'b' },
    paths: [{ local: '/a' }],
  };
  const text = problems(parseTarget(wrong));
  t.match(text, /backend: "slurm-shh" is not one of .*; did you mean "slurm-ssh"\?/);
  t.match(text, /acount: there is no such field; did you mean "account"\?/);
  t.match(text, /host: does not belong here; write it as "ssh.host"/);
  t.match(text, /stagingRoot: "scratch" is not absolute/);
  t.match(text, /period: has a "min" above its "max"/);
  t.match(text, /partition: "--all" is not one word/);
  t.match(text, /ssh.hostKey: is missing/);
  t.match(text, /paths\[0\].remote: is missing/);
  t.match(problems(parseTarget('x')), /is not the configuration of a target/);
  t.match(
    problems(parseTarget({ backend: 'slurm-rest', stagingRoot: '/x' })),
    /endpoint: is missing.*\n.*credential: is missing.*\n.*user: is missing/,
  );
  const rimrock = { backend: 'rimrock', endpoint: 'https://rimrock.example', credential: 'proxy', stagingRoot: '/x' };
  t.match(problems(parseTarget(rimrock)), /ssh: is missing; .*, or plgdata: \{site, host\}/);
  t.match(problems(parseTarget({ ...rimrock, plgdata: {} })), /plgdata.site: is missing.*\n.*plgdata.host: is missing/);
  const plgdata = { site: 'ares', host: 'ares.cyfronet.pl' };
  const ssh = { host: 'a', user: 'b', hostKey: `SHA256:${'A'.repeat(43)}` };
  t.match(problems(parseTarget({ ...rimrock, plgdata, ssh })), /ssh: is not used beside "plgdata"/);
  t.match(problems(parseTarget({ ...rimrock, backend: 'slurm-rest', user: 'u', plgdata })), /plgdata: is not used by/);
  t.match(taken(parseTarget({ ...rimrock, plgdata })).plgdata, { endpoint: 'https://data.plgrid.pl', ...plgdata });
  t.match(
    problems(parseTarget({ backend: 'command', stagingRoot: '/x', commands: { submit: ['x', '{tga}'] } })),
    /there is no \{tga\}.*\n.*status: is missing/,
  );
  t.match(taken(parseTarget({ backend: 'slurm-local', stagingRoot: '/x', period: '10s' })), {
    period: { minMs: 10_000, maxMs: 10_000 },
    keep: 'failed',
  });
});

t.test('shared paths are mapped by the longest mapping, and nothing leaves them', async (t) => {
  const paths = [
    { local: '/data', remote: '/net/d' },
    { local: '/data/hot', remote: '/ssd' },
  ];
  const pairs = ['/data', '/data/x', '/data/hot/y', '/database', '/data/../etc'].map((path) => mapPath(paths, path));
  t.same(pairs, ['/net/d', '/net/d/x', '/ssd/y', undefined, undefined]);
});

t.test('what Slurm says of a job is read for what it is, in the queue and in accounting', async (t) => {
  // As squeue of 22.05 printed them for real jobs; the states that no test can bring about are from its manual.
  const line = (state: string, status: number, more = '0|n1|x|None|'): string => `7|7|N/A|${state}|${status}|${more}`;
  const read = (text: string): unknown => {
    const job = readQueue(text).get('7');
    return [job?.state, job?.outcome?.kind ?? null];
  };
  t.same(read(line('TIMEOUT', 15)), ['ended', 'timed-out']);
  t.same(read(line('OUT_OF_MEMORY', 9)), ['ended', 'out-of-memory']);
  t.same(read(line('NODE_FAIL', 0)), ['ended', 'node-failed']);
  t.same(read(line('PREEMPTED', 0)), ['ended', 'preempted']);
  t.same(read(line('CANCELLED', 15)), ['ended', 'canceled']);
  t.same(read(line('COMPLETING', 0)), ['completing', null]);
  t.same(read(line('SOMETHING_NEW', 0)), ['running', null], 'a new word ends nothing');
  t.same(readQueue(line('FAILED', 9)).get('7')?.outcome, { kind: 'failed', exitCode: null, signal: 9 });
  t.match(readQueue(line('PENDING', 0, '1||x|BeginTime|')).get('7'), {
    requeueCount: 1,
    reason: 'BeginTime',
    nodes: '',
  });
  const array = ['13|9|0|COMPLETED|0|0|n1|x|None|', '9|9|1|FAILED|768|0|n2|x|NonZeroExitCode|', ''].join('\n');
  t.match(readQueue(array).get('9'), { state: 'ended', nodes: 'n1,n2', outcome: { kind: 'failed', exitCode: 3 } });
  const accounting = readAccounting('5|CANCELLED by 1000|0:15|n1|x|None\n6_2|FAILED|4:0|n[1-2]|y|None\n');
  t.same(accounting.get('5')?.outcome, { kind: 'canceled' });
  const again = ['8|REQUEUED|0:0|n1|x|None|100', '8|FAILED|3:0|n2|x|None|200', '8|FAILED|1:0|n9|long-ago|None|50'];
  t.match(readAccounting(again.join('\n')).get('8'), { nodes: 'n2', requeueCount: 1, outcome: { exitCode: 3 } });
  t.match(accounting.get('6'), { tag: 'y', outcome: { kind: 'failed', exitCode: 4 }, tasks: [{ index: 2 }] });
});

t.test('newer answers of slurmrestd are read like older ones', async (t) => {
  const older = { job_id: 6, array_job_id: 5, array_task_id: 1, job_state: 'FAILED', exit_code: 768, restart_cnt: 0 };
  const set = (number: number): object => ({ set: true, infinite: false, number });
  const newer = {
    job_id: 6,
    array_job_id: set(5),
    array_task_id: set(1),
    job_state: ['FAILED'],
    exit_code: { status: ['ERROR'], return_code: set(3), signal: { id: { set: false, number: 0 } } },
    restart_cnt: 0,
  };
  const waiting = { job_id: 5, array_job_id: 5, array_task_id: null, array_task_string: '2-4%2', job_state: 'PENDING' };
  for (const ended of [older, newer]) {
    const jobs = [ended, waiting].map((job) => ({
      ...job,
      name: 'x',
      user_name: 'ann',
      nodes: '',
      state_reason: 'None',
    }));
    const job = readJobs({ jobs: [...jobs, { ...jobs[0], job_id: 9, array_job_id: 0, user_name: 'bob' }] }, 'ann');
    t.same([...job.keys()], ['5'], 'jobs of others are none of ours');
    t.match(job.get('5'), {
      state: 'running',
      tasks: [{ index: 1, outcome: { exitCode: 3 } }, { index: 2 }, {}, { index: 4 }],
    });
  }
  const record = {
    ...{ job_id: 8, name: 'x', user: 'ann', nodes: 'None assigned', restart_cnt: 0, time: { submission: set(9) } },
    ...{ state: { current: ['CANCELLED'], reason: 'None' }, exit_code: { return_code: set(0) } },
  };
  const array = { job_id: 8, task_id: { set: false, number: 0 } };
  for (const task of ['0x3C', '2-5%1']) {
    const job = readRecords({ jobs: [{ ...record, array: { ...array, task } }] }, 'ann').get('8');
    t.same(
      job?.tasks.map(({ index }) => index),
      [2, 3, 4, 5],
      task,
    );
    t.match(job, { state: 'ended', nodes: '', outcome: { kind: 'canceled' } });
  }
  t.equal(complaintOf({ errors: [{ error_number: 2017, description: 'a', error: 'b' }] }), 'a: b');
  t.equal(complaintOf({ errors: [] }), undefined);
});
