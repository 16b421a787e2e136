import t from 'tap';
import { HpcError } from '../../coordinator/hpc/backend.js';
import { jobOfMarks, readMarks, withForgottenTasks } from '../../coordinator/hpc/marks.js';
import { type Mirror, newMirror, PATIENCE, recovered } from '../../coordinator/hpc/mirror.js';
import {
  afterStep,
  type MirrorResult,
  type MirrorStep,
  nextStep,
  wantCancel,
} from '../../coordinator/hpc/mirror-policy.js';
import { performStep } from '../../coordinator/hpc/perform-step.js';
import { planJob } from '../../coordinator/hpc/plan-job.js';
import { parseTarget } from '../../coordinator/hpc/read-target.js';
import { jobOfTasks, type RemoteJob, type RemoteTask } from '../../coordinator/hpc/remote-job.js';
import type { HpcTarget } from '../../coordinator/hpc/target.js';
import { withSeenTasks } from '../../coordinator/hpc/witnesses.js';
import { isRefusal, type Refusal } from '../../shared/errors.js';
import { parseJobSpec } from '../../shared/job-spec/parse.js';
import { seededRandom } from '../../shared/random.js';
import { hpcBackendConformance } from '../conformance/hpc-backend.js';
import { FakeSite } from '../fakes/fake-hpc.js';
import type { HpcBench } from '../kit/hpc-site.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const PERIOD = { minMs: 2_000, maxMs: 60_000 };
const aTarget = (more: Record<string, unknown> = {}): HpcTarget =>
  taken(parseTarget({ backend: 'slurm-local', stagingRoot: '/scratch/ann', ...more }));
const aJob = (more: Partial<RemoteJob> = {}): RemoteJob => ({
  ...{ id: '7', tag: 'x', state: 'running', reason: '', nodes: 'n1', requeueCount: 0, outcome: null, tasks: [] },
  ...more,
});
const aTask = (index: number, state: RemoteTask['state'], outcome: RemoteTask['outcome'] = null): RemoteTask => ({
  ...{ index, state, outcome, reason: '', nodes: '', requeueCount: 0 },
});

function taken<Value>(value: Value | Refusal): Value {
  if (isRefusal(value)) throw new Error(value.detail);
  return value;
}

/** Plays a mirror through results; each is for the step that is due at its time. */
class Play {
  mirror: Mirror = newMirror('x', 0);
  now = 0;

  step(): MirrorStep {
    return nextStep(this.mirror, this.now);
  }

  after(...results: readonly MirrorResult[]): this {
    for (const result of results) {
      const step = this.step();
      if (step.kind === 'wait') this.now = step.until;
      this.mirror = afterStep(this.mirror, result, { now: this.now, period: PERIOD });
    }
    return this;
  }

  fails(kind: HpcError['kind'], message: string = kind): this {
    return this.after({ kind: 'failed', step: this.step(), error: { kind, message } });
  }
}

const nothing: MirrorResult = { kind: 'found', jobs: [] };
const submitted: MirrorResult = { kind: 'submitted', remoteId: '7' };
const status = (job: Partial<RemoteJob> = {}): MirrorResult => ({ kind: 'status', job: aJob(job) });
const unknown: MirrorResult = { kind: 'status', job: undefined };

t.test('the tag is looked up before a submission, and again when nobody knows whether one arrived', async (t) => {
  const play = new Play();
  t.same(play.step(), { kind: 'find' });
  t.same(play.after(nothing).step(), { kind: 'submit' });
  play.fails('unavailable');
  t.equal(play.mirror.trouble?.kind, 'unavailable');
  t.same(play.step(), { kind: 'wait', until: PATIENCE.firstRetryMs });
  play.now = PATIENCE.firstRetryMs;
  t.same(play.step(), { kind: 'find' }, 'not submitted again at once');
  play.after({ kind: 'found', jobs: [aJob()] });
  t.equal(play.mirror.trouble, null);
  t.match(play.mirror.phase, { kind: 'watching', remoteId: '7' });

  const crashed = recovered(new Play().after(nothing).mirror, 5);
  t.same(nextStep(crashed, 5), { kind: 'find' }, 'nor after a crash');
});

t.test('of several jobs with the tag the oldest is kept, and those that have not ended are canceled', async (t) => {
  const play = new Play().after({
    kind: 'found',
    jobs: [aJob(), aJob({ id: '8' }), aJob({ id: '9', state: 'ended' })],
  });
  t.same(play.step(), { kind: 'cancel', remoteId: '8' });
  play.after({ kind: 'cancel-sent', remoteId: '8' });
  t.same(play.step(), { kind: 'poll', remoteId: '7' });
});

t.test('a job is looked at soon after a change, and ever more rarely while nothing changes', async (t) => {
  const play = new Play().after(nothing, submitted);
  const periods: number[] = [];
  for (const state of ['pending', 'pending', 'pending', 'running', 'running'] as const) {
    play.after(status({ state }));
    const step = play.step();
    periods.push(step.kind === 'wait' ? step.until - play.now : 0);
  }
  t.same(periods, [2_000, 3_000, 4_500, 2_000, 3_000]);
  for (let count = 0; count < 20; count += 1) play.after(status());
  const step = play.step();
  t.equal(step.kind === 'wait' && step.until - play.now, PERIOD.maxMs);
  play.after(status({ state: 'pending', requeueCount: 1 }));
  t.match(play.mirror.job, { state: 'pending', requeueCount: 1 }, 'put back into the queue by the site');
});

t.test('expired credentials pause a mirror visibly, and end nothing', async (t) => {
  const play = new Play().after(nothing, submitted, status());
  for (let count = 0; count < 50; count += 1) play.fails('credentials', 'token expired');
  const since = play.mirror.trouble?.since;
  t.match(play.mirror.trouble, { kind: 'credentials', message: 'token expired', failureCount: 50 });
  t.equal(since, 2_000);
  play.after(status({ state: 'ended', outcome: { kind: 'completed' } }));
  t.same(play.step(), { kind: 'done', outcome: { kind: 'completed' } });
});

t.test('a job that nobody knows is lost after several looks and some time, and not before', async (t) => {
  const play = new Play().after(nothing, submitted, status());
  const missUntilEnd = (): number => {
    let count = 0;
    for (; play.mirror.phase.kind === 'watching' && count < 100; count += 1) play.after(unknown);
    return count;
  };
  for (let count = 1; count < PATIENCE.missesBeforeLost; count += 1) play.after(unknown);
  play.after(status());
  const seenAt = play.now;
  t.ok(missUntilEnd() > PATIENCE.missesBeforeLost, 'it was seen in between');
  t.ok(play.now - seenAt >= PATIENCE.lostAfterMs);
  t.match(play.step(), { kind: 'done', outcome: { kind: 'lost', message: /no longer knows job 7/ } });

  const gone = new Play().after(nothing, submitted, status());
  gone.mirror = wantCancel(gone.mirror, gone.now);
  gone.after({ kind: 'cancel-sent', remoteId: '7' });
  for (let count = 0; count < PATIENCE.missesBeforeLost; count += 1) gone.after(unknown);
  t.same(gone.step(), { kind: 'done', outcome: { kind: 'canceled' } }, 'it was to go');
});

t.test('while accounting cannot be asked nothing is concluded, and what is known is kept', async (t) => {
  const part = aJob({ tasks: [aTask(1, 'ended', { kind: 'completed' })] });
  const play = new Play().after({ kind: 'found', jobs: [] }, { kind: 'submitted', remoteId: '7' });
  const error = { kind: 'unavailable', message: 'no database' } as const;
  for (let count = 0; count <= PATIENCE.missesBeforeLost; count += 1) {
    play.now += PATIENCE.lostAfterMs;
    play.after({ kind: 'unsure', job: count === 0 ? part : undefined, error });
  }
  t.match(play.mirror, { job: part, phase: { kind: 'watching', missedCount: 0 }, trouble: error });
});

t.test('a canceled job that a signal ended was canceled, and one that ended by itself was not', async (t) => {
  const outcomes = ([143, 3] as const).map((exitCode) => {
    const play = new Play().after(nothing, submitted, status());
    play.mirror = wantCancel(play.mirror, play.now);
    play.after({ kind: 'cancel-sent', remoteId: '7' });
    return play.after(status({ state: 'ended', outcome: { kind: 'failed', exitCode, signal: null } })).step();
  });
  t.match(outcomes, [{ outcome: { kind: 'canceled' } }, { outcome: { kind: 'failed', exitCode: 3 } }]);
});

t.test('a cancellation holds until the job has ended, whatever fails on the way', async (t) => {
  const play = new Play().after(nothing, submitted, status());
  play.fails('unavailable');
  play.mirror = wantCancel(play.mirror, play.now);
  t.same(play.step(), { kind: 'cancel', remoteId: '7' }, 'at once, though it waited for a retry');
  play.fails('unavailable');
  play.now = play.mirror.trouble?.retryAt ?? 0;
  t.same(play.step(), { kind: 'cancel', remoteId: '7' });
  play.after({ kind: 'cancel-sent', remoteId: '7' });
  t.same(play.step(), { kind: 'poll', remoteId: '7' });
  for (let count = 0; count < 6; count += 1) play.after(status({ state: 'completing' }));
  t.same(play.step(), { kind: 'cancel', remoteId: '7' }, 'asked again after a while');
  play.after(status({ state: 'ended', outcome: { kind: 'canceled' } }));
  t.same(play.step(), { kind: 'done', outcome: { kind: 'canceled' } });

  const early = new Play();
  early.mirror = wantCancel(early.mirror, 0);
  t.same(early.after(nothing).step(), { kind: 'done', outcome: { kind: 'canceled' } }, 'nothing was ever submitted');
});

t.test('a cancellation while a submission may be under way looks for that several times', async (t) => {
  const play = new Play().after(nothing);
  play.mirror = wantCancel(play.mirror, 0);
  t.same(play.step(), { kind: 'find' }, 'no submission any more');
  play.after(nothing, nothing);
  t.not(play.mirror.phase.kind, 'ended');
  play.after({ kind: 'found', jobs: [aJob()] });
  t.same(play.step(), { kind: 'cancel', remoteId: '7' });
});

t.test('what the remote side refuses ends a mirror that has no job, and no other', async (t) => {
  const refused = new Play().after(nothing).fails('refused', 'no such partition');
  t.same(refused.step(), { kind: 'done', outcome: { kind: 'refused', message: 'no such partition' } });
  const running = new Play().after(nothing, submitted, status()).fails('refused').fails('configuration');
  t.equal(running.mirror.phase.kind, 'watching');
});

t.test(
  'an array has ended when all its tasks have, as badly as the worst; forgotten ones speak by their marks',
  async (t) => {
    const done = { kind: 'completed' } as const;
    t.equal(jobOfTasks('1', 'x', [aTask(0, 'ended', done), aTask(1, 'pending')]).state, 'running');
    const failed = jobOfTasks('1', 'x', [aTask(1, 'ended', done), aTask(0, 'ended', { kind: 'timed-out' })]);
    t.same(
      [failed.state, failed.outcome, failed.tasks.map(({ index }) => index)],
      ['ended', { kind: 'timed-out' }, [0, 1]],
    );

    const marks = readMarks([
      '0.started.5',
      '0.ended.0',
      '1.started.5',
      '1.ended.7',
      '2.started.5',
      'other',
      '0.owner',
    ]);
    t.equal(jobOfMarks(marks, 'x', [0, 1, 2]), undefined, 'task 2 has not said how it ended');
    t.match(jobOfMarks(marks, 'x', [0, 1]), { id: '5', state: 'ended', outcome: { kind: 'failed', exitCode: 7 } });
    const rest = jobOfTasks('5', 'x', [aTask(3, 'ended', done)]);
    const seen = withSeenTasks(rest, { before: jobOfTasks('5', 'x', [aTask(2, 'ended', { kind: 'out-of-memory' })]) });
    const whole = withForgottenTasks(seen ?? rest, marks, [0, 1, 2, 3, 4]);
    t.same(
      whole.tasks.map(({ outcome }) => outcome?.kind),
      ['completed', 'failed', 'out-of-memory', 'completed', 'unknown'],
    );
  },
);

t.test('a whole life of a mirror at a site that fails on the way leaves one job', async (t) => {
  const site = new FakeSite();
  const target = aTarget({ stagingRoot: temporaryFolder(t) });
  const submission = planJob(taken(parseJobSpec({ script: 'exit 3' })), target, { tag: 'life' });
  if (isRefusal(submission)) throw new Error(submission.detail);
  const backend = site.open();
  const signal = new AbortController().signal;
  await backend.files.write(
    `${submission.work}/job.sh`,
    Buffer.from(submission.script),
    { offset: 0, mode: 0o700 },
    signal,
  );
  const random = seededRandom(1);
  let mirror = newMirror('life', 0);
  let now = 0;
  for (let turn = 0; turn < 200; turn += 1) {
    const kind = random.next() < 0.5 ? 'unavailable' : 'credentials';
    site.trouble = random.next() < 0.5 ? new HpcError(kind, 'x') : undefined;
    const step = nextStep(mirror, now);
    if (step.kind === 'done') break;
    if (step.kind === 'wait') {
      now = step.until;
      await new Promise((resolve) => setTimeout(resolve, 5));
    } else {
      const result = await performStep(step, { backend, submission, before: mirror.job }, signal);
      mirror = afterStep(mirror, result, { now, period: PERIOD });
    }
  }
  site.trouble = undefined;
  t.match(mirror.phase, { kind: 'ended', remoteId: '1', outcome: { kind: 'failed', exitCode: 3 } });
  t.equal((await site.open().find('life', signal)).length, 1);
});

t.test('the fake keeps the promises of a backend', async (t) => {
  const stagingRoot = temporaryFolder(t);
  const site = new FakeSite();
  t.teardown(() => site.close());
  const bench: HpcBench = {
    target: { backend: 'slurm-local' },
    stagingRoot,
    open: ({ partition }) => site.open(partition),
    closedPartition: 'closed',
    forget: async (id) => site.forget(id),
    outage: {
      begin: () => {
        site.trouble = new HpcError('unavailable', 'down');
      },
      end: () => {
        site.trouble = undefined;
      },
    },
  };
  hpcBackendConformance(t, () => bench);
});
