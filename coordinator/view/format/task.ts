import { roughDuration } from '../../../shared/units.js';
import type { AttemptEnd, AttemptView, TaskView } from '../api.js';
import { paintState } from './job.js';
import type { Column } from './table.js';
import { localTime } from './time.js';

export function taskState(task: TaskView): string {
  if (task.outcome !== null) return task.outcome.kind;
  if (task.state !== 'placed') return task.state;
  return task.preparation !== undefined || task.remote?.isWaiting ? 'preparing' : 'running';
}

export function taskColumns(): readonly Column<TaskView>[] {
  return [
    { title: 'TASK', text: (task) => task.id },
    { title: 'STATE', text: taskState, paint: (text, task, colors) => paintState(text, taskState(task), colors) },
    { title: 'ATTEMPT', text: (task) => String(task.attempt), align: 'right' },
    { title: 'EXIT', text: (task) => (task.exitCode === null ? '-' : String(task.exitCode)), align: 'right' },
    { title: 'NODE', text: (task) => task.node ?? '-' },
    { title: 'REASON', text: (task) => task.reason ?? '-' },
  ];
}

export function taskFields(task: TaskView): readonly (readonly [string, string | null])[] {
  return [
    ['Task', task.id],
    ['Step', task.step],
    ['Index', String(task.index)],
    ['State', taskState(task)],
    ['Reason', task.reason],
    ['Exit code', task.exitCode === null ? null : String(task.exitCode)],
    ['Attempt', String(task.attempt)],
    ['Node', task.node],
    ['Not before', task.notBefore && localTime(task.notBefore)],
  ];
}

/** Short, as Docker prints ids; `-o json` has all of it. */
function imageText(attempt: AttemptView): string {
  return attempt.image?.replace(/(sha256:[0-9a-f]{12})[0-9a-f]*$/, '$1') ?? '-';
}

export function attemptColumns(): readonly Column<AttemptView>[] {
  return [
    { title: 'ATTEMPT', text: (attempt) => attempt.allocationId },
    { title: 'NODE', text: nodeText },
    { title: 'STATE', text: (attempt) => attempt.state },
    { title: 'GPUS', text: (attempt) => attempt.gpus.join(',') },
    { title: 'STARTED', text: (attempt) => localTime(attempt.startedAt) },
    { title: 'RAN', text: (attempt) => (attempt.ranMs === null ? '-' : roughDuration(attempt.ranMs)), align: 'right' },
    { title: 'OUTPUT', text: outputText, align: 'right' },
    { title: 'IMAGE', text: imageText },
    { title: 'END', text: (attempt) => endText(attempt.end) },
  ];
}

/** At a remote batch system, also the job that it is there, and where that runs. */
function nodeText({ node, mirror }: AttemptView): string {
  if (!mirror?.remoteId) return node;
  return [node, `job ${mirror.remoteId}`, mirror.nodes].filter((part) => part !== '').join(' ');
}

/** How an attempt ended, in words. */
export function endText(end: AttemptEnd | null): string {
  if (end === null) return '-';
  if (end.exitCode !== undefined && end.kind === 'exited') return `exit code ${end.exitCode}`;
  if (end.oom) return 'killed at its memory limit';
  if (end.signal !== undefined) return `killed by ${end.signal}`;
  return [end.kind, end.reason, end.message].filter((part) => part !== undefined).join(': ');
}

function outputText({ output }: AttemptView): string {
  return output === null ? '-' : `${output.stdoutBytes}+${output.stderrBytes}B`;
}
