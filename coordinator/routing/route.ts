import type { EpochMs } from '../../shared/clock.js';
import type { StepSpec } from '../../shared/job-spec/spec.js';
import type { EventOf } from '../model/events.js';
import type { Job } from '../model/job.js';
import type { ClusterView } from '../model/state.js';
import type { Place } from '../scheduler/explain.js';
import { alternativesOf, type RoutingPolicy } from './alternatives.js';
import { choose, chooseAgain, type Wish } from './choose.js';

/**
 * The one decision where a step's waiting tasks go: for the first time, or again, when another target has become better by
 * so much that it is worth it. Undefined when all stays as it is.
 *
 * What has been placed stays where it is, at a remote batch system too: a task is never in two queues. Pure.
 */
export function route(
  view: ClusterView,
  place: Place,
  policy: RoutingPolicy,
  now: EpochMs,
): EventOf<'step.routed'> | undefined {
  const { job, step } = place;
  const alternatives = alternativesOf(view, place, policy, now);
  const wish = wishOf(job, step.spec, now);
  const choice = step.route ? chooseAgain(alternatives, wish, step.route.target) : choose(alternatives, wish);
  return choice && { type: 'step.routed', jobId: job.id, step: step.name, ...choice, alternatives };
}

function wishOf({ submittedAt }: Job, { prefer, deadlineMs }: StepSpec, now: EpochMs): Wish {
  const dueAt = deadlineMs === undefined ? null : submittedAt + deadlineMs;
  return { prefer: prefer ?? (dueAt === null ? 'time' : 'price'), dueAt, now };
}
