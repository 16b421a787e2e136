import { isRefusal, type Refusal } from '../../shared/errors.js';
import type { RangeSet } from '../../shared/ranges.js';
import type { Job, Step } from '../model/job.js';
import { type ClusterView, taskPhase } from '../model/state.js';
import type { TaskPhase } from '../model/task.js';
import { formatCursor, parseCursor } from './cursor.js';
import { hasLeft, lookAtJob, recall } from './look.js';
import { presentTask, type TaskView } from './present-task.js';
import type { Service } from './service.js';
import { indexesFrom } from './task-indexes.js';
import type { TaskPlace } from './task-place.js';
import { Explanations } from './waiting.js';

export const TASK_STATES = ['blocked', 'queued', 'placed', 'done', 'failed'] as const;
export type TaskState = (typeof TASK_STATES)[number];

export interface TaskQuery {
  readonly limit: number;
  readonly cursor?: string | undefined;
  /** `failed` are the done ones that failed. */
  readonly state?: TaskState | undefined;
}

export interface TaskPage {
  readonly tasks: TaskView[];
  /** Null after the last page. A page may be short and still not be the last: see MAX_LOOKED_AT. */
  readonly nextCursor: string | null;
}

/** Tasks that one request looks at; the rest of a million is left to the next page. */
const MAX_LOOKED_AT = 20_000;

/** The tasks of a job in the order of its steps and their indexes. Cost: O(page), whatever the size of the array. */
export async function listTasks(service: Service, jobId: string, query: TaskQuery): Promise<TaskPage | Refusal> {
  const keys = query.cursor === undefined ? [0, 0] : parseCursor(query.cursor, 2);
  if (isRefusal(keys)) return keys;
  const [position = 0, index = 0] = keys;
  const seen = await lookAtJob(service, jobId, (view, job) => {
    const page = new Page(view, { job, query, explanations: new Explanations(view, service) });
    return page.from(position, index);
  });
  if (isRefusal(seen)) return seen;
  const { places, attempts } = await recall(service, seen.left);
  let recalledCount = 0;
  const tasks = seen.tasks.flatMap((task) => {
    if (task !== 'left') return [task];
    const place = places[recalledCount];
    recalledCount += 1;
    return (place && presentTask(attempts, place, seen.explanations)) ?? [];
  });
  return { tasks, nextCursor: seen.nextCursor };
}

interface PageParts {
  readonly job: Job;
  readonly query: TaskQuery;
  readonly explanations: Explanations;
}

/** A page, but for the tasks whose records are in the archive. */
interface PageSeen {
  readonly tasks: readonly (TaskView | 'left')[];
  /** In the order in which they stand in `tasks`. */
  readonly left: readonly TaskPlace[];
  readonly nextCursor: string | null;
  readonly explanations: Explanations;
}

/** One page under construction. */
class Page {
  readonly #view: ClusterView;
  readonly #parts: PageParts;
  readonly #tasks: (TaskView | 'left')[] = [];
  readonly #left: TaskPlace[] = [];
  #lookedAt = 0;

  constructor(view: ClusterView, parts: PageParts) {
    this.#view = view;
    this.#parts = parts;
  }

  from(position: number, index: number): PageSeen {
    const { job, explanations } = this.#parts;
    const page = { tasks: this.#tasks, left: this.#left, explanations };
    for (const step of [...job.steps.values()].slice(position)) {
      const stoppedAt = this.#take(step, step.position === position ? index : 0);
      if (stoppedAt !== undefined) return { ...page, nextCursor: formatCursor([step.position, stoppedAt]) };
    }
    return { ...page, nextCursor: null };
  }

  /** Takes what matches; returns the index that the next page begins with when this one is full. */
  #take(step: Step, from: number): number | undefined {
    const { job, query, explanations } = this.#parts;
    for (const index of candidates(step, from, query.state)) {
      if (this.#tasks.length >= query.limit || this.#lookedAt >= MAX_LOOKED_AT) return index;
      this.#lookedAt += 1;
      const place = { job, step, index };
      if (hasLeft(place)) {
        this.#left.push(place);
        this.#tasks.push('left');
      } else if (matches(taskPhase(step, index), query.state)) {
        const task = presentTask(this.#view.allocations, place, explanations);
        if (task) this.#tasks.push(task);
      }
    }
    return undefined;
  }
}

/** Indexes that may match: of those that have left, exactly those that do. */
function candidates(step: Step, from: number, state: TaskState | undefined): Iterable<number> {
  if (state !== undefined && countIn(step, state) === 0) return [];
  const [first] = step.untouched;
  const isUntouchedWanted = first === undefined || matches(taskPhase(step, first.from), state);
  return indexesFrom(step, from, [...(isUntouchedWanted ? [] : [step.untouched]), ...leftButFor(step, state)]);
}

function leftButFor({ left }: Step, state: TaskState | undefined): readonly RangeSet[] {
  if (!left || state === undefined || state === 'done') return [];
  const others = [left.succeeded, left.canceled, left.dropped];
  return state === 'failed' ? others : [...others, left.failed];
}

function countIn({ counts }: Step, state: TaskState): number {
  if (state === 'done') return counts.succeeded + counts.failed + counts.canceled + counts.dropped;
  return counts[state];
}

function matches(phase: TaskPhase | undefined, state: TaskState | undefined): boolean {
  if (state === undefined || phase === undefined) return phase !== undefined;
  if (state === 'failed') return phase.kind === 'done' && phase.outcome.kind === 'failed';
  return phase.kind === state;
}
