import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { type HpcBackend, HpcError } from '../../coordinator/hpc/backend.js';
import type { MirrorOutcome } from '../../coordinator/hpc/mirror.js';
import { endOf } from '../../coordinator/hpc/operator/ends.js';
import { refuseMissing } from '../../coordinator/hpc/operator/missing-targets.js';
import { parseTargets } from '../../coordinator/hpc/read-targets.js';
import type { JobId } from '../../shared/ids.js';
import { below, seededRandom } from '../../shared/random.js';
import { FakeSite } from '../fakes/fake-hpc.js';
import { aRemoteJob, aTarget, MirrorCoordinator, type MirrorParts } from '../kit/mirrors.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { until } from '../kit/until.js';

t.setTimeout(300_000);

interface Bench {
  readonly site: FakeSite;
  readonly parts: MirrorParts;
}

function aBench(t: Parameters<typeof temporaryFolder>[0], parts: Readonly<Record<string, unknown>> = {}): Bench {
  const folder = temporaryFolder(t);
  const site = new FakeSite();
  t.teardown(() => site.close());
  return { site, parts: { folder, targets: aTarget(join(folder, 'site'), parts), open: () => site.open() } };
}

t.test('a job at a target runs, writes, and leaves files like any other', async (t) => {
  const { parts } = aBench(t);
  const coordinator = await MirrorCoordinator.begin(parts);
  t.teardown(() => coordinator.close());
  const command = 'cat in.txt; echo warned >&2; echo result > out.txt; exit 0';
  const jobId = await coordinator.submit(
    aRemoteJob(command, {
      inputs: [{ source: { kind: 'content', content: 'hello\n' }, to: 'in.txt' }],
      outputs: [{ path: 'out.txt', required: true }],
    }),
  );
  t.same(await coordinator.endsOf(jobId), ['exited 0']);
  t.equal(await coordinator.output(`${jobId}.0#1`), 'hello\n');
  t.equal(await coordinator.output(`${jobId}.0#1`, 'stderr'), 'warned\n');
  const attempt = coordinator.engine.view.allocations.get(`${jobId}.0#1` as never);
  t.match(attempt?.mirror, { remoteId: '1', nodes: /^(fake)?$/, requeueCount: 0 });
  const left = attempt?.phase.kind === 'ended' ? attempt.phase.staging?.outputs : undefined;
  t.match(left, [{ path: 'out.txt', sizeBytes: 7 }]);
  t.ok(await coordinator.artifacts.find(left?.[0]?.sha256 ?? ''), 'its output is in the artifact store');
  await until('the work directory is removed', () => readdirSync(join(parts.folder, 'site')).length === 0);
});

t.test('tasks of an array are one remote job, and end each as it does', async (t) => {
  const { site, parts } = aBench(t);
  const coordinator = await MirrorCoordinator.begin(parts);
  t.teardown(() => coordinator.close());
  const retry = { maxAttempts: 2, backoffMs: 0, on: ['exited' as const] };
  const command = 'test $BERTH_TASK_COUNT = 2 && test -e $0 || { touch $0; exit 9; }';
  const again = aRemoteJob(command.replaceAll('$0', join(parts.folder, 'again.$BERTH_TASK_INDEX')), {
    array: '0-1',
    retry,
  });
  const expected = ['exited 9', 'exited 0', 'exited 9', 'exited 0'];
  t.same(await coordinator.endsOf(await coordinator.submit(again)), expected, 'a part of it knows of the whole');
  site.calls.length = 0;
  const jobId = await coordinator.submit(aRemoteJob('exit $BERTH_TASK_INDEX', { array: '0-9' }));
  const ends = await coordinator.endsOf(jobId);
  t.same(
    ends,
    Array.from({ length: 10 }, (_, index) => `exited ${index}`),
  );
  t.equal(site.calls.filter((call) => call === 'submit').length, 1);
});

t.test('a task is told what it is, by the names that it has on a node', async (t) => {
  const { parts } = aBench(t);
  const coordinator = await MirrorCoordinator.begin(parts);
  t.teardown(() => coordinator.close());
  const names = [
    'JOB_ID',
    'TASK_ID',
    'TASK_INDEX',
    'TASK_COUNT',
    'ATTEMPT',
    'ALLOCATION_ID',
    'NODE',
    'CPUS',
    'MEMORY_MIB',
  ];
  const command = `echo ${names.map((name) => `$BERTH_${name}`).join(' ')}; exit $((2 - $BERTH_ATTEMPT))`;
  const retry = { maxAttempts: 2, backoffMs: 0, on: ['exited' as const] };
  const jobId = await coordinator.submit(aRemoteJob(command, { array: '3-4', retry }));
  await coordinator.endsOf(jobId);
  for (const [index, attempt] of [3, 4].flatMap((each) => [[each, 1] as const, [each, 2] as const])) {
    const id = `${jobId}.${index}#${attempt}`;
    const said = `${jobId} ${jobId}.${index} ${index} 2 ${attempt} ${id} hpc/site`;
    t.match(await coordinator.output(id), new RegExp(`^${said} [0-9.]+ \\d+\n$`), id);
  }
});

t.test('secrets reach a task as variables and files, are nowhere else, and go with it', async (t) => {
  const { site, parts } = aBench(t, { keep: 'always' });
  const coordinator = await MirrorCoordinator.begin(parts);
  t.teardown(() => coordinator.close());
  const places = '"$BERTH_SECRETS_DIR/key" "$BERTH_SECRETS_DIR/../env.sh"';
  const command = `stat -c %a ${places}; { printf %s "$TOKEN"; cat "$BERTH_SECRETS_DIR/key"; } | sha256sum; exit 3`;
  const secrets = [
    { name: 'token', env: 'TOKEN' },
    { name: 'key', file: 'key' },
  ];
  const jobId = await coordinator.submit(aRemoteJob(command, { array: '0-1', secrets }));
  t.same(await coordinator.endsOf(jobId), ['exited 3', 'exited 3']);
  const sum = createHash('sha256').update("it's tokenit's key").digest('hex');
  t.equal(await coordinator.output(`${jobId}.1#1`), `600\n600\n${sum}  -\n`);
  const files = readdirSync(parts.folder, { recursive: true, withFileTypes: true }).filter((each) => each.isFile());
  const holding = files.filter((each) => readFileSync(join(each.parentPath, each.name)).includes("it's"));
  t.same(holding, [], 'neither the site nor the log has a value');
  t.ok(
    files.some(({ name }) => name === 'job.sh'),
    'though the work directory is kept',
  );

  site.calls.length = 0;
  const unfit = aRemoteJob('true', { secrets: [{ name: 'binary', env: 'BINARY' }] });
  t.match(await coordinator.endsOf(await coordinator.submit(unfit)), [/^rejected the secret "binary" has a NUL byte/]);
  t.notOk(site.calls.includes('submit'));
});

t.test(
  'tasks beyond what one array of the site takes are several, and are themselves also after a restart',
  async (t) => {
    const { site, parts } = aBench(t);
    site.maxArraySize = 8;
    const first = await MirrorCoordinator.begin(parts);
    const command = `until test -e ${parts.folder}/go; do sleep 0.1; done; echo $BERTH_TASK_ID; exit $SLURM_ARRAY_TASK_ID`;
    const jobId = await first.submit(aRemoteJob(command, { array: '3-4,10-26' }));
    const submitted = (): number => site.calls.filter((call) => call === 'submit').length;
    await until('all are submitted', () => submitted() === 3);
    await first.close();
    const second = await MirrorCoordinator.begin(parts);
    t.teardown(() => second.close());
    writeFileSync(join(parts.folder, 'go'), '');
    const indexes = [3, 4, ...Array.from({ length: 17 }, (_, at) => at + 10)];
    t.same(
      await second.endsOf(jobId),
      indexes.map((index) => `exited ${index}`),
    );
    for (const index of indexes) t.equal(await second.output(`${jobId}.${index}#1`), `${jobId}.${index}\n`);
    t.equal(submitted(), 3);
  },
);

t.test('cancel reaches a job that runs there, and what it wrote is kept', async (t) => {
  const { parts } = aBench(t);
  const coordinator = await MirrorCoordinator.begin(parts);
  t.teardown(() => coordinator.close());
  const jobId = await coordinator.submit(aRemoteJob('echo begun; sleep 60'));
  await until('its output is followed', async () => (await coordinator.output(`${jobId}.0#1`)) === 'begun\n');
  t.match(coordinator.wordsOf(`${jobId}.0#1`), /^runs at hpc\/site \(job 1/);
  await coordinator.cancel(jobId);
  t.same(await coordinator.endsOf(jobId), ['stopped canceled']);
  t.equal(await coordinator.output(`${jobId}.0#1`), 'begun\n');
});

/** A backend whose user dies at one of its calls: before anything is done, or before the answer is heard. */
function mortal(backend: HpcBackend, death: { at: number; isDone: boolean; died: () => void }): HpcBackend {
  let count = 0;
  const wrapped = <T extends object>(whole: T): T =>
    new Proxy(whole, {
      get(object, name) {
        const value = Reflect.get(object, name) as unknown;
        if (typeof value === 'object' && value !== null) return wrapped(value);
        if (typeof value !== 'function' || name === 'close') return value;
        return async (...args: unknown[]) => {
          count += 1;
          const isLast = count >= death.at;
          const answer = isLast && (!death.isDone || count > death.at) ? undefined : await value.apply(object, args);
          if (!isLast) return answer;
          death.died();
          return new Promise(() => {});
        };
      },
    });
  return wrapped(backend);
}

t.test('a coordinator that dies at any call submits nothing twice and loses nothing', async (t) => {
  const random = seededRandom(6);
  for (let seed = 0; seed < 20; seed += 1) {
    const { site, parts } = aBench(t);
    let died = (): void => {};
    const death = new Promise<void>((resolve) => {
      died = resolve;
    });
    const point = { at: 1 + below(random, 6), isDone: below(random, 2) === 0, died };
    const first = await MirrorCoordinator.begin({ ...parts, open: () => mortal(site.open(), point) });
    const ran = join(parts.folder, 'ran');
    const spec = aRemoteJob(`echo ran >>${ran}; exit 4`, { retry: { maxAttempts: 1, backoffMs: 0, on: [] } });
    const reply = await first.engine.handle({ type: 'submitJob', spec, by: 'tester' });
    await death;
    await first.close();
    const second = await MirrorCoordinator.begin(parts);
    const jobId = 'jobId' in reply ? reply.jobId : ('' as JobId);
    t.same(await second.endsOf(jobId), ['exited 4'], `died at ${JSON.stringify(point)}`);
    t.equal(readFileSync(ran, 'utf8'), 'ran\n');
    t.equal(site.calls.filter((call) => call === 'submit').length, 1);
    await second.close();
  }
});

t.test('while credentials are expired, jobs wait visibly and nothing fails', async (t) => {
  const { site, parts } = aBench(t);
  const coordinator = await MirrorCoordinator.begin(parts);
  t.teardown(() => coordinator.close());
  site.trouble = new HpcError('unavailable', 'the token has expired');
  const jobId = await coordinator.submit(aRemoteJob('exit 3'));
  const id = `${jobId}.0#1`;
  await until('it is said', () => coordinator.wordsOf(id)?.includes('the token has expired') ?? false);
  t.equal(coordinator.engine.view.jobs.get(jobId)?.phase.kind, 'active');
  site.trouble = undefined;
  t.same(await coordinator.endsOf(jobId), ['exited 3']);
});

t.test('what a target cannot do is refused before anything is submitted', async (t) => {
  const { site, parts } = aBench(t);
  const coordinator = await MirrorCoordinator.begin(parts);
  t.teardown(() => coordinator.close());
  const script = (text: string) => ({ run: { kind: 'script' as const, script: text, args: [] } });
  const wrong = [
    [{ targets: ['hpc/sit' as const] }, /there is no target "hpc\/sit"; did you mean "hpc\/site"\?/],
    [{ gang: true as const, array: '0-1' }, /gang: is not for a remote job/],
    [{ volumes: [{ name: 'data', mount: '/data' }] }, /volumes: are of nodes of this cluster/],
    [{ inputs: [{ source: { kind: 'url' as const, url: 'file:///etc/passwd' }, to: 'p' }] }, /cannot be brought/],
    [{ ...script('#!/bin/sh\n#SBATCH --time=1\n'), timeLimitMs: 1_000 }, /timeLimit does not go with #SBATCH lines/],
    [script('echo no shebang\n#SBATCH --time=1\n'), /begins with a line like #!\/bin\/bash/],
  ] as const;
  for (const [step, message] of wrong) await t.rejects(coordinator.submit(aRemoteJob('true', step)), { message });
  t.same(
    site.calls.filter((call) => call !== 'check'),
    [],
  );
});

t.test('a target is not taken away from jobs that are there, unless it is said to be gone', async (t) => {
  const { parts } = aBench(t);
  const coordinator = await MirrorCoordinator.begin(parts);
  t.teardown(() => coordinator.close());
  const { view } = coordinator.engine;
  const none = { targets: [], gone: [] };
  t.equal(refuseMissing(view, none), undefined, 'nothing is there yet');
  const jobId = await coordinator.submit(aRemoteJob('sleep 60'));
  await until('it is there', () => /\(job 1/.test(coordinator.wordsOf(`${jobId}.0#1`) ?? ''));
  t.match(refuseMissing(view, none), {
    refused: 'invalid-request',
    detail: `--targets lacks hpc/site, where these jobs still are: ${jobId}`,
    hint: /berth cordon hpc\/site .* "gone: \[site\]"/,
  });
  t.equal(refuseMissing(view, { targets: parts.targets, gone: [] }), undefined);
  t.equal(refuseMissing(view, { targets: [], gone: ['site'] }), undefined);
  await coordinator.cancel(jobId);
  t.match(refuseMissing(view, none), { refused: 'invalid-request' }, 'a cancellation must get there');
  await coordinator.endsOf(jobId);
  t.equal(refuseMissing(view, none), undefined);
});

t.test('a file of targets says what is wrong with it', async (t) => {
  const site = { name: 'site', backend: 'slurm-local', stagingRoot: '/scratch' };
  const wrong = [
    [{ targets: [site], gone: ['site'] }, /gone: site stands among the targets too/],
    [{ targets: [site], gone: 'old' }, /gone: "old" is not a list/],
    [{ targets: [site], other: [] }, /nothing beside it but "gone"/],
    [{ targets: [site, site] }, /targets\[1\]\.name: site stands here twice/],
    [{ targets: [{ ...site, maxTasks: 0 }] }, /targets\[0\]\.maxTasks: 0 is out of range/],
  ] as const;
  for (const [input, detail] of wrong) t.match(parseTargets(input), { refused: 'invalid-request', detail });
  t.match(parseTargets({ targets: [site], gone: ['old'] }), { targets: { length: 1 }, gone: ['old'] });
});

t.test('every remote end keeps its kind', async (t) => {
  const ends: readonly (readonly [MirrorOutcome, object])[] = [
    [{ kind: 'completed' }, { kind: 'exited', exitCode: 0 }],
    [
      { kind: 'failed', exitCode: 3, signal: null },
      { kind: 'exited', exitCode: 3 },
    ],
    [
      { kind: 'failed', exitCode: null, signal: 11 },
      { kind: 'signaled', signal: 'SIGSEGV' },
    ],
    [{ kind: 'failed', exitCode: null, signal: null }, { kind: 'start-failed' }],
    [{ kind: 'canceled' }, { kind: 'stopped', reason: 'remote' }],
    [{ kind: 'preempted' }, { kind: 'stopped', reason: 'preempted' }],
    [{ kind: 'timed-out' }, { kind: 'stopped', reason: 'time-limit' }],
    [{ kind: 'out-of-memory' }, { kind: 'signaled', signal: 'SIGKILL', oom: true }],
    [{ kind: 'node-failed' }, { kind: 'lost', message: 'a node of the site failed' }],
    [
      { kind: 'lost', message: 'nobody knows' },
      { kind: 'lost', message: 'nobody knows' },
    ],
    [
      { kind: 'unknown', message: 'who knows' },
      { kind: 'lost', message: 'who knows' },
    ],
    [
      { kind: 'refused', message: 'too large' },
      { kind: 'rejected', message: 'too large' },
    ],
  ];
  for (const [outcome, end] of ends) t.match(endOf(outcome, { stopReason: null, ranMs: 1 }), end, outcome.kind);
  const asked = endOf({ kind: 'failed', exitCode: 143, signal: null }, { stopReason: 'drained', ranMs: 1 });
  t.same(asked, { kind: 'stopped', reason: 'drained', ranMs: 1 });
});

t.test('a missing secret and an unknown partition are told at submission', async (t) => {
  const folder = temporaryFolder(t);
  const site = new FakeSite();
  const endpoint = { endpoint: 'http://127.0.0.1:9', backend: 'slurm-rest', user: 'me', credential: 'missing' };
  const targets = [...aTarget(join(folder, 'a'), endpoint), ...aTarget(join(folder, 'b'), { name: 'other' })];
  const coordinator = await MirrorCoordinator.begin({ folder, targets, open: () => site.open('mian') });
  t.teardown(() => coordinator.close());
  await t.rejects(coordinator.submit(aRemoteJob('true')), { message: /hpc\/site needs the secret "missing"/ });
  await t.rejects(coordinator.submit(aRemoteJob('true', { targets: ['hpc/other'] })), { message: /no partition mian/ });
});
