import type { EpochMs } from '../../shared/clock.js';
import type { Limits } from '../../shared/limits.js';
import { isRouted, type Job, type Step } from '../model/job.js';
import type { ClusterView } from '../model/state.js';
import { explainBackoff } from './explain-backoff.js';
import { explainLimit } from './explain-limit.js';
import { explainRoomAndMachines, type MachinePolicy } from './explain-machines.js';
import { explainPreemption } from './explain-preemption.js';
import { explainReservation } from './explain-reservation.js';
import { Headroom, type Limited } from './headroom.js';
import { togetherOf } from './outlook.js';
import { nodesWithRoom } from './timeline.js';
import type { WaitReason } from './wait-reason.js';

export interface Place {
  readonly job: Job;
  readonly step: Step;
}

/**
 * The reason why the step's waiting tasks are not placed, or undefined when none waits.
 *
 * @param now  epoch ms on the coordinator's clock
 * Cost: O(nodes + retries). Pure.
 */
export function explainStep(
  view: ClusterView,
  place: Place,
  { limits, now }: { readonly limits: Limits; readonly now: EpochMs },
): WaitReason | undefined {
  const { step } = place;
  if (step.counts.blocked + step.counts.queued === 0) return undefined;
  const own = explainItself(view, place, now) ?? explainLimits(view, place, limits);
  return own ?? explainPlace(view, place, { limits, now });
}

/** What keeps it from every node, or the reservation that keeps it from one. Cost: O(nodes), more when it would fit. */
export function explainPlace(
  view: ClusterView,
  place: Place,
  policy: MachinePolicy & { readonly limits: Limits },
): WaitReason {
  const preemption = policy.limits.preemption.length > 0 ? explainPreemption(view, place.job.id) : undefined;
  if (preemption) return preemption;
  const reason = explainRoomAndMachines(view, place.step.demand, policy);
  if (reason.code !== 'starting') return reason;
  return explainWholeNode(view, place, policy.limits) ?? explainReservation(view, place, policy) ?? reason;
}

/** A quota that all of an empty node would exceed, although what the task asks for would not. Cost: O(nodes). */
export function explainWholeNode(view: ClusterView, place: Place, limits: Limits): WaitReason | undefined {
  const { demand } = place.step;
  if (!demand.exclusive) return undefined;
  const headroom = new Headroom(view, limits);
  for (const node of nodesWithRoom(view, demand)) {
    const reached = headroom.obstacle(limitedBy(place), { count: 1, nodes: [node] });
    if (reached) return explainLimit(reached);
  }
  return undefined;
}

/** A limit that lets none of the step's tasks start now. Cost: O(limits of the step). */
export function explainLimits(view: ClusterView, place: Place, limits: Limits): WaitReason | undefined {
  const reached = new Headroom(view, limits).obstacle(limitedBy(place), { count: togetherOf(place.step.demand) });
  return reached && explainLimit(reached);
}

/** The step, as limits read it. */
export function limitedBy({ job, step }: Place): Limited {
  return {
    jobId: job.id,
    step: step.name,
    namespace: job.spec.namespace,
    user: job.submittedBy,
    jobName: job.spec.name,
  };
}

/** What the job itself makes them wait for: a hold, other steps, a pause after a failure. Cost: O(retries). */
export function explainItself(
  view: Pick<ClusterView, 'allocations'>,
  { job, step }: Place,
  now: EpochMs,
): WaitReason | undefined {
  if (job.phase.kind === 'held')
    return { code: 'held', message: `the job is held; release it with: berth release ${job.id}` };
  if (!step.isReleased) return explainNeeds(job, step);
  if (!isRouted(step)) return { code: 'targets', message: 'its targets are about to be compared' };
  return explainBackoff(view, { job, step }, now);
}

function explainNeeds(job: Job, step: Step): WaitReason {
  const open = step.spec.needs.filter((name) => {
    const needed = job.steps.get(name);
    return needed !== undefined && needed.counts.succeeded < needed.count;
  });
  return {
    code: 'needs',
    message: `waits for ${open.length === 1 ? 'step' : 'steps'} ${open.join(', ')}`,
    details: { steps: open },
  };
}
