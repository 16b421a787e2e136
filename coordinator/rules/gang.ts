import { present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import type { AllocationEnd } from '../../shared/outcome.js';
import type { Allocation } from '../model/allocation.js';
import type { BerthEvent } from '../model/events.js';
import type { Job, Step } from '../model/job.js';
import type { ClusterView } from '../model/state.js';
import { afterAttempt, isSuccess } from './after-attempt.js';

/**
 * What follows when the attempt of a gang's rank has ended; empty when nothing is left to do.
 *
 * A gang's ranks run in rounds, all with the same attempt number. The first rank that ends without success stops the
 * others. A rank whose attempt has ended stays `placed` until the last one has: then all of them move together, by the
 * end that was the cause, done or queued for the next round. So a round is lost, and tried again, once.
 * Cost: O(ranks).
 */
export function gangRankEnded(
  view: ClusterView,
  { job, step }: { readonly job: Job; readonly step: Step },
  now: EpochMs,
): readonly BerthEvent[] {
  const round = roundOf(view, step);
  const cause = causeOf(round);
  const live = round.filter(({ phase }) => phase.kind !== 'ended');
  if (live.length === 0) return round.map((allocation) => afterRound({ job, step, allocation, cause }, now));
  const running = cause ? live.filter(({ phase }) => phase.kind !== 'stopping') : [];
  return running.map(({ id: allocationId }) => ({ type: 'allocation.stopRequested', allocationId, reason: 'gang' }));
}

/** The newest attempts of the ranks that have not moved on yet. */
function roundOf(view: ClusterView, step: Step): Allocation[] {
  const round: Allocation[] = [];
  for (const { phase } of step.tasks.values()) {
    if (phase.kind !== 'placed') continue;
    round.push(present(view.allocations.get(phase.allocationId), `allocation ${phase.allocationId}`));
  }
  return round;
}

/**
 * The end to which the round's failure is due; undefined while every end was a success.
 *
 * The first one, but a lost rank before any other: its peers mostly fail of its silence before its lease ends.
 */
function causeOf(round: readonly Allocation[]): AllocationEnd | undefined {
  let first: { readonly at: EpochMs; readonly end: AllocationEnd } | undefined;
  for (const { phase } of round) {
    if (phase.kind !== 'ended' || isSuccess(phase.end) || isStoppedForPeers(phase.end)) continue;
    if (phase.end.kind === 'lost') return phase.end;
    if (!first || phase.at < first.at) first = phase;
  }
  return first?.end;
}

function isStoppedForPeers(end: AllocationEnd): boolean {
  return end.kind === 'stopped' && end.reason === 'gang';
}

/** One rank moves on; a rank that succeeded in a round that is not tried again has succeeded. */
function afterRound(
  rank: {
    readonly job: Job;
    readonly step: Step;
    readonly allocation: Allocation;
    readonly cause: AllocationEnd | undefined;
  },
  now: EpochMs,
): BerthEvent {
  const { job, step, allocation, cause } = rank;
  const { ref, phase } = allocation;
  const own = present(phase.kind === 'ended' ? phase.end : undefined, `end of ${allocation.id}`);
  const verdict = afterAttempt({ job, step, ref, end: cause ?? own }, now);
  return verdict.type === 'task.finished' && isSuccess(own) ? afterAttempt({ job, step, ref, end: own }, now) : verdict;
}
