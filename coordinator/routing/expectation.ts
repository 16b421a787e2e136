import type { EpochMs } from '../../shared/clock.js';
import { Draft } from '../elastic/policy/draft.js';
import { LOOK_AHEAD, type QueuePlace, type Waiting, waitingTasks } from '../elastic/policy/places.js';
import { serveWaiting } from '../elastic/policy.js';
import type { DemandClass } from '../model/demand.js';
import { slotsOnEmpty } from '../model/feasible.js';
import type { ClusterView } from '../model/state.js';
import type { Place } from '../scheduler/explain.js';
import type { PlanPolicy } from '../scheduler/plan.js';

/** The others that wait, and where among them the step would be. */
export interface Queue {
  readonly others: readonly Waiting[];
  readonly position: number;
  readonly own: QueuePlace;
  /** How many of its tasks, or gangs, are looked at. */
  readonly count: number;
}

/** Of a large step so many tasks are looked at. */
const MAX_TASKS = 200;

export function queueOf(
  view: ClusterView,
  { job, step }: Place,
  { planning, now }: { readonly planning: PlanPolicy; readonly now: EpochMs },
): Queue {
  const others = waitingTasks(view, planning, now).filter(({ of }) => of.jobId !== job.id || of.step !== step.name);
  const { priority } = job.spec;
  const own = { jobId: job.id, step: step.name, priority, sequence: job.sequence };
  const later = others.findIndex(
    ({ of }) => of.priority < priority || (of.priority === priority && of.sequence > job.sequence),
  );
  const { gangSize = 1 } = step.demand;
  const count = Math.max(1, Math.min(Math.floor(step.counts.queued / gangSize), MAX_TASKS));
  return { others, position: later < 0 ? others.length : later, own, count };
}

/** When the step's tasks would start among the others. */
export interface Expectation {
  /** The next of them, all ranks of a gang; null: not as things are. */
  readonly startAt: EpochMs | null;
  /** The last of them. */
  readonly lastAt: EpochMs | null;
  /** The cluster with the machines that would be started for all who wait. */
  readonly draft: Draft;
}

/** What the elastic policy would do if the step's tasks had this demand, and when they would start then. */
export function expectationOf(
  view: ClusterView,
  { others, position, own, count }: Queue,
  { demand, runMs, now }: { readonly demand: DemandClass; readonly runMs: number; readonly now: EpochMs },
): Expectation {
  const tasks = Array.from({ length: count }, () => ({ demand, runMs, of: own }));
  const waiting = [...others.slice(0, position), ...tasks, ...others.slice(position)];
  const draft = new Draft(view, waiting, now);
  serveWaiting(draft);
  const { starts } = draft.lookAhead(draft.places, waiting);
  const known = starts.slice(position, position + count).filter((at) => at < now + LOOK_AHEAD.neverMs);
  const lastAt = known.length === count ? Math.max(...known) : null;
  return { startAt: known[0] ?? null, lastAt, draft };
}

/**
 * When the step's next task starts if machines do that are on their way, or that the elastic policy would start for those who
 * wait; undefined when none could help. By run times as they were learnt, so that others need no time limits. Pure.
 */
export function expectedByMachines(
  view: ClusterView,
  place: Place,
  { planning, now }: { readonly planning: PlanPolicy; readonly now: EpochMs },
): { readonly startAt: EpochMs; readonly taskCount: number } | undefined {
  const { demand, spec } = place.step;
  const queue = queueOf(view, place, { planning, now });
  const { experience } = view.index;
  const runMs = experience.runMs(demand, place.job.spec.name) ?? spec.timeLimitMs ?? experience.usualRunMs;
  const { startAt, draft } = expectationOf(view, { ...queue, count: 1 }, { demand, runMs, now });
  if (startAt === null) return undefined;
  const isByMachine = draft.places.some(
    ({ readyAt, room }) => readyAt > now && readyAt <= startAt && slotsOnEmpty(demand, room.node.nodeClass) > 0,
  );
  return isByMachine ? { startAt, taskCount: queue.position } : undefined;
}
