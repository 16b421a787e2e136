import { jobOfTasks, type RemoteJob, type RemoteTask } from '../remote-job.js';

/** A job, or one task of an array, as a line of some system's answer has it. */
export interface TaskRow extends RemoteTask {
  readonly jobId: string;
  readonly tag: string;
  readonly isArray: boolean;
}

/** The jobs that rows are of, by id, the oldest first. */
export function jobsOf(rows: readonly TaskRow[]): Map<string, RemoteJob> {
  const byJob = new Map<string, TaskRow[]>();
  for (const each of rows) {
    const others = byJob.get(each.jobId);
    if (others) others.push(each);
    else byJob.set(each.jobId, [each]);
  }
  const ids = [...byJob.keys()].sort((left, right) => Number(left) - Number(right));
  return new Map(ids.map((id) => [id, jobOfRows(id, byJob.get(id) ?? [])]));
}

function jobOfRows(id: string, rows: readonly TaskRow[]): RemoteJob {
  const tasks = rows.map(({ jobId: _, tag: __, isArray: ___, ...task }): RemoteTask => task);
  const job = jobOfTasks(id, rows[0]?.tag ?? '', tasks);
  return rows.some(({ isArray }) => isArray) ? job : { ...job, tasks: [] };
}

/** A line of accounting, which may have several of one task: one for each time that it was put back into the queue. */
export interface RecordRow extends TaskRow {
  /** Epoch seconds of the submission, or of the return to the queue. */
  readonly submittedAt: number;
  /** It stands for tasks that have not been taken out of their array; each that has been is told by itself too. */
  readonly isShared: boolean;
}

/** The jobs of accounting, by their newest records, with how often they were put back. */
export function jobsOfRecords(records: readonly RecordRow[]): Map<string, RemoteJob> {
  const newest = new Map<string, RecordRow>();
  const byAge = [...records].sort((left, right) => left.submittedAt - right.submittedAt);
  for (const record of [...byAge.filter(({ isShared }) => isShared), ...byAge.filter(({ isShared }) => !isShared)]) {
    const key = `${record.jobId}_${record.index}`;
    const earlier = newest.get(key);
    // Ids are given out again after years.
    const isAgain = earlier !== undefined && earlier.tag === record.tag && !earlier.isShared;
    newest.set(key, { ...record, requeueCount: isAgain ? earlier.requeueCount + 1 : record.requeueCount });
  }
  return jobsOf([...newest.values()].map(({ submittedAt: _, isShared: __, ...row }) => row));
}

/** Of these jobs, what has ended of those that were asked for. */
export function endedOf(jobs: ReadonlyMap<string, RemoteJob>, ids: readonly string[]): Map<string, RemoteJob> {
  const asked = [...pick(jobs, ids).values()].flatMap((job) => {
    const tasks = job.tasks.filter(({ state }) => state === 'ended');
    if (tasks.length > 0) return [jobOfTasks(job.id, job.tag, tasks)];
    return job.state === 'ended' ? [job] : [];
  });
  return new Map(asked.map((job) => [job.id, job]));
}

/** Of these jobs, those that were asked for. */
export function pick(jobs: ReadonlyMap<string, RemoteJob>, ids: readonly string[]): Map<string, RemoteJob> {
  return new Map(
    ids.flatMap((id) => {
      const job = jobs.get(id);
      return job ? [[id, job] as const] : [];
    }),
  );
}
