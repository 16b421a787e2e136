import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type HpcBackend, HpcError } from '../../coordinator/hpc/backend.js';
import { openBackend } from '../../coordinator/hpc/backends/open-backend.js';
import { planJob } from '../../coordinator/hpc/plan-job.js';
import { parseTarget } from '../../coordinator/hpc/read-target.js';
import type { RemoteJob, RemoteOutcome } from '../../coordinator/hpc/remote-job.js';
import { SCRIPT_FILE, type Submission } from '../../coordinator/hpc/submission.js';
import type { HpcTarget } from '../../coordinator/hpc/target.js';
import { conclude } from '../../coordinator/hpc/witnesses.js';
import { systemClock } from '../../shared/clock.js';
import { isRefusal, type Refusal } from '../../shared/errors.js';
import { parseJobSpec } from '../../shared/job-spec/parse.js';
import { connectorFiles, startConnector } from '../kit/connector.js';
import { aRemoteJob, aTarget, MirrorCoordinator } from '../kit/mirrors.js';
import { type SiteImages, siteImages } from '../kit/site-images.js';
import { type Slurm, slurmTests, startSlurm } from '../kit/slurm.js';
import { startSshd } from '../kit/sshd.js';
import { until } from '../kit/until.js';

t.setTimeout(300_000);

const signal = new AbortController().signal;

// What sites have: accounting, while the controller soon forgets; memory that is enforced; jobs that preempt others.
t.test('a Slurm like that of a site', slurmTests, async (t) => {
  const slurm = startSlurm(t, { site: true, rest: true, minJobAgeSeconds: 3 });
  const ways = await waysTo(slurm, t);
  const jobs = await forgottenJobs(slurm, ways.local);
  for (const name of ['local', 'rest'] as const) {
    t.test(`what the controller has forgotten is told of by ${name}`, (t) => tellsOf(t, ways[name], jobs));
  }
  t.test('over SSH accounting tells the same', async (t) => {
    const ids = jobs.map(({ id }) => id);
    const [there, here] = await Promise.all([ways.ssh, ways.local].map((way) => way.accounting?.endedOf(ids, signal)));
    t.same(there, here);
  });
  t.test('a job that needs more memory than it asked for is told so, with exit code 137', (t) => memory(t, slurm));
  t.test('what is preempted and put back starts again there, and is no new attempt', (t) => putBack(t, slurm));
  t.test('what is preempted and ended is tried again for free, unless it may not', (t) => preempted(t, slurm));
  t.test('an image runs by what the site has, and looks the same to its task', (t) => containers(t, slurm));
  t.test('a coordinator that comes back when nothing else is left learns it from accounting', (t) => away(t, slurm));
  t.test('while accounting is down what it would tell is waited for, and all else goes on', (t) =>
    down(t, slurm, ways),
  );
});

type Ways = Readonly<Record<'local' | 'ssh' | 'rest', HpcBackend>>;

async function waysTo(slurm: Slurm, t: Test): Promise<Ways> {
  const sshd = await startSshd(t, { SLURM_CONF: slurm.env.SLURM_CONF ?? '' });
  const { username } = userInfo();
  const token = slurm.tool('scontrol', 'token', 'lifespan=3600', `username=${username}`).replace('SLURM_JWT=', '');
  const secrets: Record<string, string> = { key: sshd.privateKey, token: token.trim() };
  const secret = async (name: string): Promise<string> => secrets[name] ?? '';
  const { port, user, hostKey } = sshd;
  const open = (target: object): HpcBackend =>
    openBackend(targetAt(slurm, target), { env: slurm.env, sshAgentSocket: undefined, secret, clock: systemClock });
  const ways = {
    local: open({ backend: 'slurm-local' }),
    ssh: open({ backend: 'slurm-ssh', ssh: { host: '127.0.0.1', port, user, hostKey, credential: 'key' } }),
    rest: open({ backend: 'slurm-rest', endpoint: slurm.restUrl, user: username, credential: 'token' }),
  };
  t.teardown(() => Promise.all(Object.values(ways).map((each) => each.close())));
  return ways;
}

function fieldsAt({ folder }: Slurm): object {
  return { backend: 'slurm-local', partition: 'main', stagingRoot: join(folder, 'jobs') };
}

function targetAt(slurm: Slurm, more: object): HpcTarget {
  return taken(parseTarget({ ...fieldsAt(slurm), ...more }));
}

function taken<Value>(value: Value | Refusal): Value {
  if (isRefusal(value)) throw new Error(value.detail);
  return value;
}

/** What accounting tells of a job that the controller has forgotten. */
interface ForgottenJob {
  readonly id: string;
  readonly submission: Submission;
  readonly told: object;
}

const failed = (exitCode: number): RemoteOutcome => ({ kind: 'failed', exitCode, signal: null });
const canceled: RemoteOutcome = { kind: 'canceled' };
/** Holds 200 MB until it is ended. */
const GREEDY = 'head -c 200000000 /dev/zero | tail -c 200000000 | sleep 60';

/** One of each kind of end. */
async function forgottenJobs(slurm: Slurm, backend: HpcBackend): Promise<ForgottenJob[]> {
  const jobs: ForgottenJob[] = [];
  const submit = async (fields: object, told: object, partition = 'main'): Promise<string> => {
    const spec = taken(parseJobSpec({ resources: { memory: '16MiB' }, ...fields }));
    const target = targetAt(slurm, { backend: 'slurm-local', partition });
    const submission = taken(planJob(spec, target, { tag: `t${process.pid}-${jobs.length}` }));
    mkdirSync(submission.work, { recursive: true });
    writeFileSync(join(submission.work, SCRIPT_FILE), submission.script);
    const id = await backend.submit(submission, signal);
    jobs.push({ id, submission, told: { state: 'ended', ...told } });
    return id;
  };
  const gate = join(slurm.folder, 'gate');
  const waits = `until [ -e ${gate} ]; do sleep 0.1; done; exit 6`;
  const again = await submit({ script: waits }, { outcome: failed(6), requeueCount: 1 });
  const oneByOne = await submit(
    { script: 'sleep 60', array: '1-3', maxParallel: 1 },
    { outcome: canceled, tasks: [{ index: 1, nodes: 'bench' }, { index: 2, nodes: '' }, { index: 3 }] },
  );
  await submit({ script: 'exit 4' }, { outcome: failed(4), nodes: 'bench', requeueCount: 0, tasks: [] });
  const outcomes = [{ kind: 'completed' }, failed(1), failed(2)];
  const tasks = outcomes.map((outcome, index) => ({ index, outcome }));
  await submit({ script: 'exit $BERTH_TASK_INDEX', array: '0-2' }, { outcome: failed(2), tasks });
  await submit({ script: GREEDY }, { outcome: { kind: 'out-of-memory' } });
  const never = await submit({ script: 'true' }, { outcome: canceled, nodes: '' }, 'closed');
  const all = { outcome: canceled, tasks: { length: 100 } };
  const neverAny = await submit({ script: 'true', array: '1-100' }, all, 'closed');

  const stateOf = (id: string): string => slurm.tool('squeue', '--noheader', `--jobs=${id}`, '--format=%T');
  await until('they run', () => [again, oneByOne].every((id) => stateOf(id).includes('RUNNING')));
  slurm.tool('scontrol', 'requeue', again);
  slurm.tool('scancel', oneByOne, never, neverAny);
  writeFileSync(gate, '');
  await slurm.startAgain(again);
  for (const { id } of jobs) await slurm.forget(id);
  return jobs;
}

async function tellsOf(t: Test, backend: HpcBackend, jobs: readonly ForgottenJob[]): Promise<void> {
  const ids = [...jobs.map(({ id }) => id), '999999'];
  t.same(await backend.statusOf(ids, signal), new Map());
  const accounted = (await backend.accounting?.endedOf(ids, signal)) ?? new Map<string, RemoteJob>();
  for (const { id, submission, told } of jobs) {
    const remote = { backend, submission, before: null };
    t.match(await conclude({ seen: undefined, accounted: accounted.get(id) }, remote, signal), told, `job ${id}`);
  }
  t.equal(accounted.size, jobs.length, 'and of nothing else');
  const tag = jobs[0]?.submission.tag ?? '';
  t.match(await backend.find(tag, signal), [{ tag, state: 'ended', requeueCount: 1 }]);
  t.same(await backend.find('never-was', signal), []);
}

const ARGUMENT = `it's  "q" $HOME *`;

async function containers(t: Test, slurm: Slurm): Promise<void> {
  const images = siteImages(t, join(slurm.folder, 'images'));
  for (const { image, ...runtime } of [images.podman, images.charliecloud, images.apptainer]) {
    const place = { name: `by-${runtime.container}`, ...runtime };
    const { coordinator } = await coordinatorAt(t, slurm, place);
    const says = 'cat in.txt; printf "%s|" "$0" "$1" "$VALUE" "$BERTH_TASK_ID"; wc -c <"$BERTH_SECRETS_DIR/key"';
    const argv = ['sh', '-c', `${says}; cd "$BERTH_WORKSPACE" && echo kept >out; exit 7`, ARGUMENT, ''];
    const command = await coordinator.submit(
      aRemoteJob('', {
        ...{ image, driver: 'docker', run: { kind: 'command', argv }, env: { VALUE: 'a  b' } },
        inputs: [{ source: { kind: 'content', content: 'in\n' }, to: 'in.txt' }],
        outputs: [{ path: 'out', required: true }],
        secrets: [{ name: 'key', file: 'key' }],
      }),
    );
    const run = { kind: 'script', script: '#!/bin/sh\necho "$1"; exit 3\n', args: ['x  y'] } as const;
    const script = await coordinator.submit(aRemoteJob('', { image, driver: 'docker', run }));
    t.same(await coordinator.endsOf(command), ['exited 7'], await coordinator.output(`${command}.0#1`, 'stderr'));
    t.equal(await coordinator.output(`${command}.0#1`), `in\n${ARGUMENT}||a  b|${command}.0|8\n`);
    const { phase } = coordinator.engine.view.allocations.get(`${command}.0#1` as never) ?? {};
    t.match(phase, { staging: { outputs: [{ path: 'out', sizeBytes: 5 }] } });
    t.same(await coordinator.endsOf(script), ['exited 3'], await coordinator.output(`${script}.0#1`, 'stderr'));
    t.equal(await coordinator.output(`${script}.0#1`), 'x  y\n');
    if (runtime.container === 'podman') await cancelsIn(t, coordinator, images);
  }
  const said = images.standInArguments().trimEnd().split('\n');
  t.equal(said.length, 2, 'the script, and the command with its secret');
  const shape = /^ --bind (\S+)( --bind (\S+\/secrets\/files):\3:ro)? --pwd \1 docker:\/\/busybox:site$/;
  const hasSecret = said.map((line) => shape.exec(line)?.at(3) !== undefined);
  for (const line of said) t.match(line, shape);
  t.same(hasSecret.sort(), [false, true]);
}

async function cancelsIn(
  t: Test,
  coordinator: MirrorCoordinator,
  { podman: { image }, ...images }: SiteImages,
): Promise<void> {
  const run = { kind: 'command', argv: ['sleep', '600'] } as const;
  const jobId = await coordinator.submit(aRemoteJob('', { image, driver: 'docker', run }));
  await until('its container is there', () => images.containers().length === 1);
  await coordinator.cancel(jobId);
  t.same(await coordinator.endsOf(jobId), ['stopped canceled']);
  await until('its container is gone', () => images.containers().length === 0);
}

async function away(t: Test, slurm: Slurm): Promise<void> {
  const { folder, begin, coordinator: first } = await coordinatorAt(t, slurm, { name: 'away' });
  const gate = join(slurm.folder, 'gate-of-away');
  const command = `until [ -e ${gate} ]; do sleep 0.1; done; exit $((3 + BERTH_TASK_INDEX))`;
  const jobIds = [await first.submit(aRemoteJob(command)), await first.submit(aRemoteJob(command, { array: '0-1' }))];
  const running = (): string[] =>
    slurm.tool('squeue', '--me', '--states=RUNNING', '--noheader', '--format=%F').split('\n');
  await until('all run and are known', () => {
    const known = [...first.engine.view.allocations.values()].filter(
      ({ mirror }) => mirror?.remoteId && mirror.nodes !== '',
    );
    return known.length === 3;
  });
  const ids = [...new Set(running().filter(Boolean))];
  await first.close();
  writeFileSync(gate, '');
  for (const id of ids) await slurm.forget(id);
  for (const name of readdirSync(join(folder, 'site'))) rmSync(join(folder, 'site', name), { recursive: true });
  const second = await begin();
  t.same(await Promise.all(jobIds.map((id) => second.endsOf(id))), [['exited 3'], ['exited 3', 'exited 4']]);
}

async function memory(t: Test, slurm: Slurm): Promise<void> {
  const { coordinator } = await coordinatorAt(t, slurm, { name: 'memory' });
  const array = aRemoteJob(`[ $BERTH_TASK_INDEX = 1 ] && exit 5; ${GREEDY}`, {
    array: '0-1',
    resources: { memoryMiB: 32 },
  });
  const jobId = await coordinator.submit(array);
  const connected = startConnector(
    [
      ...['run', '--name', 'greedy'],
      ...connectorFiles(join(slurm.folder, 'greedy'), fieldsAt(slurm), {
        command: ['sh', '-c', GREEDY],
        resources: { memory: '32MiB' },
      }),
    ],
    slurm.env,
  );
  t.equal(await connected.exitCode, 137);
  t.match(connected.stderr(), /the job needed more memory than it had asked for/);
  t.same(await coordinator.endsOf(jobId), ['signaled SIGKILL true', 'exited 5']);
}

async function putBack(t: Test, slurm: Slurm): Promise<void> {
  const { coordinator } = await coordinatorAt(t, slurm, { name: 'put-back', partition: 'requeued' });
  const been = join(slurm.folder, 'been');
  const jobId = await coordinator.submit(aRemoteJob(`if mkdir ${been}; then sleep 60; fi; exit 4`));
  const words = (): string => coordinator.wordsOf(`${jobId}.0#1`) ?? '';
  await until('it runs', () => existsSync(been) && /^runs at/.test(words()));
  preempt(slurm);
  await until('it waits again', () => /waits again in the queue of hpc\/site/.test(words()));
  const [, remoteId] = /job (\d+)/.exec(words()) ?? [];
  await slurm.startAgain(remoteId ?? '');
  t.same(await coordinator.endsOf(jobId), ['exited 4']);
  const attempt = coordinator.engine.view.allocations.get(`${jobId}.0#1` as never);
  t.match(attempt?.mirror, { remoteId, requeueCount: 1, nodes: 'bench' });
}

async function preempted(t: Test, slurm: Slurm): Promise<void> {
  const { coordinator } = await coordinatorAt(t, slurm, { name: 'ended', partition: 'ended' });
  const gate = join(slurm.folder, 'gate-of-ended');
  const sign = join(slurm.folder, 'sign-of');
  const command = `[ -e ${gate} ] || { : >${sign}.$BERTH_JOB_ID; sleep 60; }; exit 4`;
  const once = await coordinator.submit(aRemoteJob(command, { retry: { maxAttempts: 1, backoffMs: 0, on: [] } }));
  const retry = { maxAttempts: 2, backoffMs: 0, on: ['exited' as const] };
  const again = await coordinator.submit(aRemoteJob(command, { retry }));
  await until('both run', () => [once, again].every((id) => existsSync(`${sign}.${id}`)));
  writeFileSync(gate, '');
  preempt(slurm);
  t.same(await coordinator.endsOf(once), ['stopped preempted']);
  t.same(await coordinator.endsOf(again), ['stopped preempted', 'exited 4', 'exited 4']);
}

/** Somebody's job that takes all of the node. */
function preempt(slurm: Slurm): void {
  const options = ['--partition=urgent', '--exclusive', '--output=/dev/null', '--chdir=/tmp'];
  slurm.tool('sbatch', ...options, '--wrap=sleep 1');
}

async function down(t: Test, slurm: Slurm, ways: Ways): Promise<void> {
  const { folder, begin, coordinator: first } = await coordinatorAt(t, slurm, { name: 'down' });
  const gate = join(folder, 'gate');
  const forgotten = await first.submit(aRemoteJob(`until [ -e ${gate} ]; do sleep 0.1; done; exit 7`));
  const idOf = (jobId: string): string =>
    first.engine.view.allocations.get(`${jobId}.0#1` as never)?.mirror?.remoteId ?? '';
  await until('it is there', () => idOf(forgotten) !== '');
  await first.close();
  slurm.stopAccounting();
  t.teardown(() => slurm.startAccounting());
  for (const backend of [ways.local, ways.rest]) {
    const asked = Promise.resolve(backend.accounting?.endedOf(['1'], signal));
    await t.rejects(asked, new HpcError('unavailable', ''), 'what is not known is not told');
    t.match(await backend.check(signal), { hasAccounting: false });
  }
  writeFileSync(gate, '');
  await slurm.forget(idOf(forgotten));
  const second = await begin();
  await until('that is said', () => /cannot be asked \(unavailable\)/.test(second.wordsOf(`${forgotten}.0#1`) ?? ''));
  const other = await second.submit(aRemoteJob('exit 8'));
  t.same(await second.endsOf(other), ['exited 8'], 'the controller tells of others as ever');
  t.not(second.engine.view.jobs.get(forgotten)?.phase.kind, 'finished');
  slurm.startAccounting();
  t.same(await second.endsOf(forgotten), ['exited 7']);
}

/** A name, and fields of the target. */
interface Place {
  readonly name: string;
  readonly [field: string]: string;
}

/** A coordinator with one target, and how to begin another one in its place. */
async function coordinatorAt(t: Test, slurm: Slurm, { name, ...fields }: Place) {
  const folder = join(slurm.folder, name);
  const targets = aTarget(join(folder, 'site'), { partition: 'main', ...fields });
  const parts = { folder, targets, open: () => localBackend(slurm, targets[0]?.target) };
  const begin = async (): Promise<MirrorCoordinator> => {
    const coordinator = await MirrorCoordinator.begin(parts);
    t.teardown(() => coordinator.close());
    return coordinator;
  };
  return { folder, begin, coordinator: await begin() };
}

function localBackend(slurm: Slurm, target: HpcTarget | undefined): HpcBackend {
  if (!target) throw new Error('there is no target');
  const secret = () => Promise.reject(new HpcError('credentials', 'there is none'));
  return openBackend(target, { env: slurm.env, sshAgentSocket: undefined, secret, clock: systemClock });
}
