import { present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import type { NodeId } from '../../shared/ids.js';
import type { Limits } from '../../shared/limits.js';
import type { Step } from '../model/job.js';
import type { ReadyStep } from '../model/lanes.js';
import { type ClusterView, stepOf } from '../model/state.js';
import { explainItself, explainLimits, type Place } from './explain.js';
import { comingMachine } from './explain-machines.js';
import { orderQueue } from './order.js';
import { holdMsOf, togetherOf } from './outlook.js';
import { Timeline } from './timeline.js';
import type { WaitReason } from './wait-reason.js';

/** When a step's next waiting task may start, and on what ground that is said. An estimate, from time limits alone. */
export type Prediction =
  | { readonly ground: 'now'; readonly startAt: EpochMs; readonly nodeId: NodeId }
  /** It is next, and starts there when what runs has reached its time limit. */
  | { readonly ground: 'reservation'; readonly startAt: EpochMs; readonly nodeId: NodeId }
  /** So many tasks are served before it; without a time there are at least so many. */
  | { readonly ground: 'behind'; readonly taskCount: number; readonly startAt: EpochMs; readonly nodeId: NodeId }
  | { readonly ground: 'behind'; readonly taskCount: number; readonly startAt: null }
  /** Something else must happen first: a release, a need, a limit; known in time only for a back-off. */
  | { readonly ground: 'reason'; readonly reason: WaitReason; readonly startAt: EpochMs | null }
  /** A machine is on its way, and may be here before anything else makes room. */
  | { readonly ground: 'machine'; readonly startAt: EpochMs; readonly nodeId: NodeId }
  /** Nothing that runs has a time limit after which it would fit. */
  | { readonly ground: 'unknown'; readonly startAt: null };

/** Beyond so many tasks before it, a time would be worth nothing. */
const MAX_TASKS_AHEAD = 1_000;

/**
 * Predicts the start of the step's next task; undefined when none waits.
 *
 * Those before it are started one after the other, none passing another, each for as long as its time limit allows;
 * those that nothing with a time limit makes room for are passed over.
 * Cost: O(nodes) for each of at most MAX_TASKS_AHEAD tasks, besides O(queue). Pure.
 */
export function predictStart(
  view: ClusterView,
  place: Place,
  { limits, now }: { readonly limits: Limits; readonly now: EpochMs },
): Prediction | undefined {
  const { step } = place;
  if (step.counts.blocked + step.counts.queued === 0) return undefined;
  const own = explainItself(view, place, now);
  if (own) return { ground: 'reason', reason: own, startAt: own.code === 'backoff' ? earliestRetry(step) : null };
  const reason = explainLimits(view, place, limits);
  if (reason) return { ground: 'reason', reason, startAt: null };
  const timeline = new Timeline(view, now);
  const taskCount = serveThoseBefore(view, { place, timeline }, { limits, now });
  if (taskCount >= MAX_TASKS_AHEAD) return { ground: 'behind', taskCount, startAt: null };
  const start = timeline.start({ demand: step.demand, holdMs: holdMsOf(step.spec) });
  const coming = taskCount === 0 ? comingMachine(view, step.demand, now) : undefined;
  if (coming && (!start || coming.expectedAt < start.startAt)) {
    return { ground: 'machine', startAt: coming.expectedAt, nodeId: coming.machine.nodeId };
  }
  if (!start) return { ground: 'unknown', startAt: null };
  const { startAt, nodeId } = start;
  if (startAt <= now) return { ground: 'now', startAt, nodeId };
  if (taskCount === 0) return { ground: 'reservation', startAt, nodeId };
  return { ground: 'behind', taskCount, startAt, nodeId };
}

function earliestRetry({ tasks }: Step): EpochMs {
  let at = Number.POSITIVE_INFINITY;
  for (const { phase } of tasks.values()) if (phase.kind === 'queued') at = Math.min(at, phase.notBefore);
  return at;
}

/** Starts what is served before the step; how many tasks that were, at most MAX_TASKS_AHEAD. */
function serveThoseBefore(
  view: ClusterView,
  { place, timeline }: { readonly place: Place; readonly timeline: Timeline },
  policy: { readonly limits: Limits; readonly now: EpochMs },
): number {
  const queue = orderQueue(view, policy, policy.now);
  const left = new Map<ReadyStep, number>();
  let count = 0;
  for (const entry of queue) {
    if (entry.jobId === place.job.id && entry.step === place.step.name) return count;
    const step = present(stepOf(view, entry), `queued step of ${entry.jobId}`);
    const claim = { demand: step.demand, holdMs: holdMsOf(step.spec) };
    const together = togetherOf(step.demand);
    let remaining = left.get(entry) ?? step.counts.queued;
    while (remaining >= together && queue.take(entry, { count: together })) {
      if (!timeline.start(claim)) {
        queue.exhaust(entry.demand);
        break;
      }
      count += together;
      if (count >= MAX_TASKS_AHEAD) return count;
      remaining -= together;
      if (queue.isTurnOver) break;
    }
    left.set(entry, remaining);
  }
  return count;
}
