import { type JobId, taskIdOf } from '../../shared/ids.js';
import type { JobSpec, SecretUse, StepSpec } from '../../shared/job-spec/spec.js';
import { taskCountOf } from '../../shared/job-spec/task-indexes.js';
import type { HpcTarget } from './target.js';

/** What a remote job is to the side that submits it. */
export interface RemoteName {
  readonly tag: string;
  /** Absent where no coordinator gave it one; tasks are then told the tag. */
  readonly jobId?: JobId;
  readonly attempt?: number;
  /** See array-range.ts; absent: 0. */
  readonly indexOffset?: number;
}

/** What tasks are told of themselves, in the words that agents use; the script adds their indexes. */
export interface TaskIdentity {
  readonly env: Readonly<Record<string, string>>;
  /** The task's id without its index: `j42.`, `j42.train.` */
  readonly taskPrefix: string;
  readonly attempt: number;
  /** Added to an index of the site, it is the task's. */
  readonly indexOffset: number;
}

/** Of which step they are; absent for a script that says all about itself. */
export interface TaskOf {
  readonly spec: JobSpec;
  readonly step: StepSpec;
}

export function identityOf(
  { tag, jobId, attempt = 1, indexOffset = 0 }: RemoteName,
  target: HpcTarget,
  of?: TaskOf,
): TaskIdentity {
  const id = jobId ?? (tag as JobId);
  const env = {
    BERTH_JOB_ID: id,
    BERTH_JOB_NAME: of?.spec.name ?? tag,
    BERTH_NODE: `hpc/${target.name}`,
    BERTH_ATTEMPT: String(attempt),
    ...(of && { BERTH_STEP: of.step.name, BERTH_TASK_COUNT: String(taskCountOf(of.step)) }),
  };
  const taskPrefix = of ? taskIdOf({ jobId: id, step: of.step.name, index: 0 }).slice(0, -1) : `${id}.`;
  return { env, taskPrefix, attempt, indexOffset };
}

/** How a task gets its secrets, which are in its work directory and never in its script. */
export interface SecretPlaces {
  readonly hasFiles: boolean;
  readonly hasVariables: boolean;
}

export function placesOf(secrets: readonly SecretUse[] = []): SecretPlaces {
  return {
    hasFiles: secrets.some(({ file }) => file !== undefined),
    hasVariables: secrets.some(({ env }) => env !== undefined),
  };
}
