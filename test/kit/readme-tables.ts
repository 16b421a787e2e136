import { ALLOCATION_TRANSITIONS } from '../../coordinator/model/allocation.js';
import { INSTANCE_TRANSITIONS } from '../../coordinator/model/instance.js';
import { JOB_TRANSITIONS } from '../../coordinator/model/job.js';
import { INTAKE_TRANSITIONS, LINK_TRANSITIONS } from '../../coordinator/model/node.js';
import { TASK_TRANSITIONS } from '../../coordinator/model/task.js';

type Transitions = Readonly<Record<string, readonly string[]>>;

const MACHINES: readonly (readonly [string, Transitions])[] = [
  ['Job', JOB_TRANSITIONS],
  ['Task', TASK_TRANSITIONS],
  ['Allocation', ALLOCATION_TRANSITIONS],
  ['Node, link', LINK_TRANSITIONS],
  ['Node, intake', INTAKE_TRANSITIONS],
  ['Instance', INSTANCE_TRANSITIONS],
];

/** The README's table of state machines, as the transition tables have it. */
export function stateTable(): string {
  const rows = MACHINES.flatMap(([machine, transitions]) =>
    Object.entries(transitions).map(([from, to]) => `| ${machine} | ${from} | ${to.join(', ') || '(final)'} |`),
  );
  return ['| | from | to |', '| --- | --- | --- |', ...rows].join('\n');
}
