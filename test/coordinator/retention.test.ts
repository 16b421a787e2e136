import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { readCoordinatorConfig } from '../../coordinator/config.js';
import { removeJobOutput } from '../../coordinator/gateway/log-removal.js';
import type { Departure } from '../../coordinator/model/past.js';
import { RETENTION, Retention } from '../../coordinator/retention.js';
import { MemoryStore } from '../../coordinator/store/memory.js';
import { type JobId, jobIdOf } from '../../shared/ids.js';
import { type LogFields, silentLog } from '../../shared/log.js';
import { ManualClock } from '../kit/manual-clock.js';
import { aPastJob } from '../kit/past.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const DAY = 86_400_000;

async function archiveOf(t: Test, ages: readonly number[]) {
  const clock = new ManualClock();
  const archive = new MemoryStore();
  await archive.open();
  const departures = ages.map((age, position): Departure => {
    return { kind: 'job', job: aPastJob(position + 1, {}, { endedAt: clock.now() - age }) };
  });
  await archive.append([], departures);
  const removed: JobId[] = [];
  const warnings: LogFields[] = [];
  const start = (removeOutput: (jobId: JobId) => Promise<boolean>): Retention => {
    const log = { ...silentLog, warn: (_message: string, fields: LogFields = {}) => void warnings.push(fields) };
    const retention = new Retention({ archive, removeOutput, keepMs: 30 * DAY, clock, log });
    t.teardown(() => retention.stop());
    return retention;
  };
  const left = async (): Promise<JobId[]> =>
    (await archive.pastJobs({ below: 10_000, from: 0, limit: 10_000 })).jobs.map(({ id }) => id).reverse();
  return { clock, removed, warnings, start, left };
}

t.test('jobs that ended too long ago are forgotten with their output, and others stay', async (t) => {
  const { clock, removed, start, left } = await archiveOf(t, [31 * DAY, 29 * DAY, 40 * DAY, 0]);
  start(async (jobId) => {
    removed.push(jobId);
    return removed.length === 1;
  });
  await clock.advance(RETENTION.everyMs);
  t.strictSame(await left(), ['j2', 'j4']);
  t.strictSame(removed, ['j3', 'j3', 'j1'], 'the oldest first, and output until none remains');
  await clock.advance(2 * DAY);
  t.strictSame(await left(), ['j4']);
});

t.test('very many are forgotten a few at a time', async (t) => {
  const { clock, start, left } = await archiveOf(t, Array(RETENTION.jobsPerRound * 2 + 1).fill(31 * DAY));
  start(async () => false);
  await clock.advance(RETENTION.everyMs);
  t.equal((await left()).length, RETENTION.jobsPerRound + 1);
  await clock.advance(RETENTION.pauseMs);
  t.equal((await left()).length, 1);
  await clock.advance(RETENTION.pauseMs);
  t.strictSame(await left(), []);
});

t.test('a job whose output cannot be removed is kept, told of, and tried again', async (t) => {
  const { clock, removed, warnings, start, left } = await archiveOf(t, [31 * DAY]);
  start(async (jobId) => {
    removed.push(jobId);
    if (removed.length === 1) throw new Error('read-only file system');
    return false;
  });
  await clock.advance(RETENTION.everyMs);
  t.strictSame([await left(), warnings.length], [['j1'], 1]);
  await clock.advance(RETENTION.everyMs);
  t.strictSame([await left(), warnings.length], [[], 1]);
});

t.test('after it was stopped nothing more is forgotten, not even the rest of a round', async (t) => {
  const { clock, start, left } = await archiveOf(t, [33 * DAY, 32 * DAY, 31 * DAY]);
  const retention: Retention = start(async (jobId) => {
    if (jobId === jobIdOf(2)) void retention.stop();
    return false;
  });
  await clock.advance(RETENTION.everyMs);
  await clock.advance(DAY);
  t.strictSame(await left(), ['j2', 'j3']);
});

t.test("a job's output is removed in slices, and no other job's", async (t) => {
  const stateDir = temporaryFolder(t);
  const folderOf = (id: string): string => join(stateDir, 'logs', id);
  for (const [id, count] of [
    ['j1', 1_500],
    ['j11', 1],
  ] as const) {
    mkdirSync(folderOf(id), { recursive: true });
    for (let index = 0; index < count; index += 1) writeFileSync(join(folderOf(id), `main.${index}#1.out`), 'x');
  }
  t.equal(await removeJobOutput(stateDir, jobIdOf(1)), true);
  t.equal(readdirSync(folderOf('j1')).length, 500);
  t.equal(await removeJobOutput(stateDir, jobIdOf(1)), false);
  t.strictSame([existsSync(folderOf('j1')), existsSync(folderOf('j11'))], [false, true]);
  t.equal(await removeJobOutput(stateDir, jobIdOf(1)), false, 'again changes nothing');
});

t.test("how long jobs are kept is the operator's to say, but never less than a day", async (t) => {
  t.match(await readCoordinatorConfig([], {}), { keepJobsMs: 30 * DAY });
  t.match(await readCoordinatorConfig(['--keep-jobs', '7d'], {}), { keepJobsMs: 7 * DAY });
  await t.rejects(readCoordinatorConfig(['--keep-jobs', '23h'], {}), {
    code: 'invalid-request',
    problems: [{ field: /keep-jobs/, message: /1d or longer/ }],
  });
});
