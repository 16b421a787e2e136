import { jobOfTasks, outcomeOfExitCode, type RemoteJob, type RemoteTask } from './remote-job.js';

/**
 * What a job writes about itself into its work directory: the last witness, when controller and accounting have
 * forgotten it. Everything is in the names, so that one listing tells all of it.
 *
 *   0.started.4711    task 0 has begun, as job 4711
 *   0.ended.3         task 0 has ended with status 3
 *   0.owner           a link whose target is the id of the one job that may run task 0
 */
export interface Marks {
  readonly tasks: ReadonlyMap<number, TaskMarks>;
}

interface TaskMarks {
  readonly remoteId: string | undefined;
  readonly exitCode: number | undefined;
}

const MARK = /^(\d{1,10})\.(started|ended)\.([A-Za-z0-9._-]{1,100})$/;

/** @param names  of the files in the folder of marks; others are passed over */
export function readMarks(names: readonly string[]): Marks {
  const tasks = new Map<number, TaskMarks>();
  for (const name of names) {
    const [, index, word, value = ''] = MARK.exec(name) ?? [];
    if (index === undefined) continue;
    const known = tasks.get(Number(index)) ?? { remoteId: undefined, exitCode: undefined };
    tasks.set(Number(index), word === 'ended' ? { ...known, exitCode: Number(value) } : { ...known, remoteId: value });
  }
  return { tasks };
}

/** The id of the job that left these marks; undefined when it has not begun. */
export function idOfMarks({ tasks }: Marks): string | undefined {
  for (const { remoteId } of tasks.values()) if (remoteId !== undefined) return remoteId;
  return undefined;
}

/**
 * The job as its marks tell of it, once every task has left its last one; undefined before that.
 *
 * @param indexes  of all its tasks; a job that is no array has task 0
 */
export function jobOfMarks(marks: Marks, tag: string, indexes: Iterable<number>): RemoteJob | undefined {
  const id = idOfMarks(marks);
  if (id === undefined) return undefined;
  const tasks: RemoteTask[] = [];
  for (const index of indexes) {
    const exitCode = marks.tasks.get(index)?.exitCode;
    if (exitCode === undefined) return undefined;
    tasks.push({ index, state: 'ended', reason: '', nodes: '', requeueCount: 0, outcome: outcomeOfExitCode(exitCode) });
  }
  const job = jobOfTasks(id, tag, tasks);
  return tasks.length === 1 && tasks[0]?.index === 0 ? { ...job, tasks: [] } : job;
}

/**
 * An array with the tasks of which nobody else tells: as their marks say; once the rest has ended, a task of which
 * nothing is known has ended too.
 *
 * @param indexes  of all its tasks
 */
export function withForgottenTasks(job: RemoteJob, marks: Marks, indexes: Iterable<number>): RemoteJob {
  const present = new Set(job.tasks.map(({ index }) => index));
  const missing = [...indexes].filter((index) => !present.has(index));
  const found = missing.map((index) => taskOfMarks(index, marks, job.state === 'ended'));
  return found.length === 0 ? job : jobOfTasks(job.id, job.tag, [...job.tasks, ...found]);
}

function taskOfMarks(index: number, marks: Marks, isOver: boolean): RemoteTask {
  const exitCode = marks.tasks.get(index)?.exitCode;
  const task = { index, reason: '', nodes: '', requeueCount: 0 };
  if (exitCode !== undefined) return { ...task, state: 'ended', outcome: outcomeOfExitCode(exitCode) };
  if (!isOver) return { ...task, state: 'running', outcome: null };
  const message = `nobody knows what became of task ${index}: controller and accounting do not know it, and it left no status`;
  return { ...task, state: 'ended', outcome: { kind: 'unknown', message } };
}
