import type { JobId } from '../../shared/ids.js';
import type { Allocation } from './allocation.js';
import { ClassTable } from './demand.js';
import type { Job, Step } from './job.js';
import { restoreSteps, type StoredJob, storedJob } from './stored-job.js';
import type { Task } from './task.js';

/** A task that is done and has left memory, with every attempt of it. It never changes again. */
export interface PastTask {
  readonly jobId: JobId;
  readonly step: string;
  readonly task: Task;
  /** In the order of the attempts. */
  readonly allocations: readonly Allocation[];
}

/** What has left memory and is to be archived. A job leaves when it is finished, after the last of its tasks. */
export type Departure =
  | { readonly kind: 'task'; readonly task: PastTask }
  | { readonly kind: 'job'; readonly job: FinishedJob };

/** Its steps know all of their tasks as ranges alone. */
export type FinishedJob = Job & { readonly phase: Extract<Job['phase'], { readonly kind: 'finished' }> };

export function formatPastJob(job: FinishedJob): string {
  return JSON.stringify(storedJob(job));
}

/** The job as it was when it left. Cost: O(steps + ranges). */
export function readPastJob(text: string): FinishedJob {
  const stored = JSON.parse(text) as StoredJob & Pick<FinishedJob, 'phase'>;
  return { ...stored, steps: restoreSteps(stored, new ClassTable()) };
}

export function formatPastTask({ task, allocations }: PastTask): string {
  return JSON.stringify({ task, allocations });
}

export function readPastTask(place: Pick<PastTask, 'jobId' | 'step'>, text: string): PastTask {
  return { ...(JSON.parse(text) as Pick<PastTask, 'task' | 'allocations'>), jobId: place.jobId, step: place.step };
}

/** The step as if these tasks had not left; it knows the records of no others. */
export function withPastTasks(step: Step, past: readonly PastTask[]): Step {
  return { ...step, tasks: new Map(past.map(({ task }) => [task.index, task])) };
}
