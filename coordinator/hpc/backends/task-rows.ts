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

/** Of these jobs, those that were asked for. */
export function pick(jobs: ReadonlyMap<string, RemoteJob>, ids: readonly string[]): Map<string, RemoteJob> {
  return new Map(
    ids.flatMap((id) => {
      const job = jobs.get(id);
      return job ? [[id, job] as const] : [];
    }),
  );
}
