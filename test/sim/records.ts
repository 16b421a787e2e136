import type { Allocation } from '../../coordinator/model/allocation.js';
import type { Job, Step } from '../../coordinator/model/job.js';
import type { Task } from '../../coordinator/model/task.js';
import type { AllocationId, JobId } from '../../shared/ids.js';
import { eachIndex } from '../../shared/ranges.js';
import type { World } from './world.js';

export interface TaskRecord {
  readonly job: Job;
  readonly step: Step;
  readonly task: Task;
}

/** Everything that there is in the end, whether in memory or in the archive. */
export interface Records {
  readonly jobs: ReadonlyMap<JobId, Job>;
  readonly tasks: readonly TaskRecord[];
  readonly allocations: ReadonlyMap<AllocationId, Allocation>;
}

const EVERY_JOB = { below: Number.MAX_SAFE_INTEGER, from: 0, limit: Number.MAX_SAFE_INTEGER };

/** Collects them, and says when one is lost or doubled. */
export async function collectRecords({ coordinator, story }: World): Promise<Records> {
  const { engine } = coordinator;
  const jobs = new Map<JobId, Job>(engine?.view.jobs);
  const allocations = new Map<AllocationId, Allocation>(engine?.view.allocations);
  const tasks: TaskRecord[] = [];
  for (const job of (await engine?.archive.pastJobs(EVERY_JOB))?.jobs ?? []) {
    if (jobs.has(job.id)) story.broken(`${job.id} is in memory and in the archive`);
    jobs.set(job.id, job);
  }
  for (const job of jobs.values()) {
    for (const step of job.steps.values()) {
      for (const task of step.tasks.values()) tasks.push({ job, step, task });
      const left = step.left ? [step.left.succeeded, step.left.failed, step.left.canceled, step.left.dropped] : [];
      const indexes = left.flatMap((ranges) => [...eachIndex(ranges)]);
      const past = (await engine?.archive.pastTasks(job.id, step.name, indexes)) ?? [];
      if (past.length < indexes.length) story.broken(`${indexes.length - past.length} tasks of ${job.id} are lost`);
      for (const { task, allocations: attempts } of past) {
        tasks.push({ job, step, task });
        for (const attempt of attempts) allocations.set(attempt.id, attempt);
      }
    }
  }
  return { jobs, tasks, allocations };
}
