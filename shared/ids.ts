/**
 * Names of things, as branded strings so that one cannot be passed for another.
 *
 *   job         j42
 *   task        j42.7         (index 7 of the job's step `main`)
 *               j42.train.7   (index 7 of its step `train`)
 *   allocation  j42.train.7#2 (the second attempt of that task; its id is its own fence)
 *   node        the node's unique name, as its operator chose it
 *   instance    i7            (a machine that we rent, for as long as it exists)
 */
export type JobId = string & { readonly brand: 'JobId' };
export type TaskId = string & { readonly brand: 'TaskId' };
export type AllocationId = string & { readonly brand: 'AllocationId' };
export type NodeId = string & { readonly brand: 'NodeId' };
export type InstanceId = string & { readonly brand: 'InstanceId' };

/** The step of a job that has one unnamed step; it does not appear in task ids. */
export const MAIN_STEP = 'main';

/** Step names can never be mistaken for an array index. */
export const STEP_NAME = /^[a-z][a-z0-9-]{0,62}$/;
/** Node, job, namespace and label names. */
export const NAME = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$/;

export interface TaskRef {
  readonly jobId: JobId;
  readonly step: string;
  readonly index: number;
}

export interface AllocationRef extends TaskRef {
  readonly attempt: number;
}

export function jobIdOf(sequence: number): JobId {
  return `j${sequence}` as JobId;
}

/** The number of a job id; undefined when the text is none. */
export function parseJobId(text: string): number | undefined {
  const match = /^j(\d{1,15})$/.exec(text);
  return match ? Number(match[1]) : undefined;
}

export function instanceIdOf(sequence: number): InstanceId {
  return `i${sequence}` as InstanceId;
}

export function taskIdOf(ref: TaskRef): TaskId {
  return (ref.step === MAIN_STEP ? `${ref.jobId}.${ref.index}` : `${ref.jobId}.${ref.step}.${ref.index}`) as TaskId;
}

export function allocationIdOf(ref: AllocationRef): AllocationId {
  return `${taskIdOf(ref)}#${ref.attempt}` as AllocationId;
}

const TASK = /^(j\d+)(?:\.([a-z][a-z0-9-]*))?\.(\d+)(?:#(\d+))?$/;

/** Reads `j42.7` or `j42.train.7`; undefined when the text is no task id. */
export function parseTaskId(text: string): TaskRef | undefined {
  const match = TASK.exec(text);
  if (!match || match[4] !== undefined) return undefined;
  return { jobId: match[1] as JobId, step: match[2] ?? MAIN_STEP, index: Number(match[3]) };
}

/** Reads `j42.7#2` or `j42.train.7#2`; undefined when the text is no allocation id. */
export function parseAllocationId(text: string): AllocationRef | undefined {
  const match = TASK.exec(text);
  if (!match || match[4] === undefined) return undefined;
  return { jobId: match[1] as JobId, step: match[2] ?? MAIN_STEP, index: Number(match[3]), attempt: Number(match[4]) };
}
