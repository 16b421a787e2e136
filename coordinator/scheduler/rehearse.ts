import { present } from '../../shared/assert.js';
import { jobIdOf, type NodeId, parseAllocationId } from '../../shared/ids.js';
import type { JobSpec } from '../../shared/job-spec/spec.js';
import { addResources } from '../../shared/resources.js';
import { applyEvent } from '../model/apply.js';
import { ChangeLog } from '../model/change-log.js';
import { type BerthEvent, EVENT_VERSION, type EventOf } from '../model/events.js';
import type { IndexView, NodeUsage } from '../model/indexes.js';
import { isRouted, type Job, type Step } from '../model/job.js';
import { type ClusterState, type ClusterView, emptyState } from '../model/state.js';
import { explainItself, explainWholeNode, limitedBy } from './explain.js';
import { explainLimit } from './explain-limit.js';
import { explainRoomAndMachines, type MachinePolicy } from './explain-machines.js';
import { Headroom } from './headroom.js';
import { togetherOf } from './outlook.js';
import { Placer } from './placer.js';
import { type Placement, type PlanPolicy, plan } from './plan.js';
import { positionsOf, shareFor } from './room.js';
import type { WaitReason } from './wait-reason.js';
import type { Pricing } from './worth/pricing.js';

/** What would become of a job's step if it were submitted now. */
export interface StepRehearsal {
  readonly step: Step;
  /** How many of its tasks would be placed at once, by node. */
  readonly placed: ReadonlyMap<NodeId, number>;
  /** Why the others would wait; undefined when all would be placed. */
  readonly reason: WaitReason | undefined;
}

export interface RehearsalPolicy extends MachinePolicy {
  readonly policy: PlanPolicy;
  readonly pricing: Pricing;
  /** Where a step with several targets would go; absent where there is none. */
  readonly routeOf?: (
    view: ClusterView,
    place: { readonly job: Job; readonly step: Step },
  ) => EventOf<'step.routed'> | undefined;
}

export interface Rehearsal {
  readonly spec: JobSpec;
  readonly by: string;
}

/**
 * Plans a job that was not submitted, on what is free now. The view is read only: nothing changes.
 *
 * What waits already does not fit now, or it would have been placed, so the job meets only what is free. At most
 * `policy.maxPlacements` tasks are placed. Pure. Cost: that of one plan.
 */
export function rehearse(
  view: ClusterView,
  rehearsal: Rehearsal,
  { policy, pricing, now, troubleOf, routeOf }: RehearsalPolicy,
): StepRehearsal[] {
  const { scratch, job } = submitted(view, rehearsal, { now, ...(routeOf ? { routeOf } : {}) });
  const empty = viewOf(view, scratch, new Map());
  // What others would have to give up for it is no room that it has.
  const limits = { ...policy.limits, preemption: [] };
  const { placements } = plan(empty, { ...policy, limits }, now, new Placer(pricing));
  const usage = usageAfter(empty, job, placements);
  const after = viewOf(view, scratch, usage);
  const headroom = new Headroom(after, policy.limits);
  const entries = [...job.steps.values()].map((step) => {
    const entry = limitedBy({ job, step });
    const placed = placedOf(step, placements);
    for (const [nodeId, count] of placed) {
      headroom.take(entry, { count, nodes: Array(count).fill(present(view.nodes.get(nodeId), `node ${nodeId}`)) });
    }
    return { step, placed, entry };
  });
  return entries.map(({ step, placed, entry }) => {
    if (total(placed) === step.count) return { step, placed, reason: undefined };
    const limit = headroom.obstacle(entry, { count: togetherOf(step.demand) });
    const reason = explainItself(view, { job, step }, now) ?? (limit && explainLimit(limit));
    const place = { job, step };
    return {
      ...{ step, placed },
      reason:
        reason ??
        explainWholeNode(after, place, policy.limits) ??
        explainRoomAndMachines(after, step.demand, { now, troubleOf }),
    };
  });
}

/** The job in a state of its own. */
function submitted(
  view: ClusterView,
  { spec, by }: Rehearsal,
  { now, routeOf }: Pick<RehearsalPolicy, 'now' | 'routeOf'>,
) {
  const scratch = emptyState();
  const sequence = view.nextJobSequence;
  const jobId = jobIdOf(sequence);
  scratch.nextJobSequence = sequence;
  const happen = (event: BerthEvent): void => {
    applyEvent(scratch, { seq: scratch.lastSeq + 1, at: now, version: EVENT_VERSION, event });
  };
  happen({ type: 'job.submitted', jobId, sequence, spec, by });
  const job = present(scratch.jobs.get(jobId), 'rehearsed job');
  for (const step of [...job.steps.values()].filter((each) => !isRouted(each))) {
    const routed = routeOf?.(view, { job, step });
    if (routed) happen(routed);
  }
  return { scratch, job };
}

/** The cluster as it is, with the queue of the scratch state. */
function viewOf(view: ClusterView, scratch: ClusterState, usage: ReadonlyMap<NodeId, NodeUsage>): ClusterView {
  const { index } = view;
  const { ready, levels, unrouted, reroutable, waitingCount, unfinishedJobCount } = scratch.index;
  const both: IndexView = {
    usage: (nodeId) => usage.get(nodeId) ?? index.usage(nodeId),
    nodeChanges: new ChangeLog(),
    liveOfJob: (jobId) => index.liveOfJob(jobId),
    instanceByNode: index.instanceByNode,
    ready,
    levels,
    unrouted,
    reroutable,
    accounts: index.accounts,
    mix: index.mix,
    experience: index.experience,
    waitingCount,
    unfinishedJobCount,
    nextDeadline: () => undefined,
    sums: () => index.sums(),
  };
  return { ...view, jobs: new Map([...view.jobs, ...scratch.jobs]), index: both };
}

function usageAfter(view: ClusterView, job: Job, placements: readonly Placement[]): Map<NodeId, NodeUsage> {
  const usage = new Map<NodeId, NodeUsage>();
  for (const { allocationId, nodeId, gpus } of placements) {
    const { demand } = stepIn(job, allocationId);
    const before = usage.get(nodeId) ?? view.index.usage(nodeId);
    const node = present(view.nodes.get(nodeId), `node ${nodeId}`);
    const gpuMillis = new Map(before.gpuMillis);
    const share = shareFor(node, demand, positionsOf(node, gpus));
    for (const [position, millis] of share.gpus) {
      const { index } = present(node.inventory.gpus[position], 'device of a placement');
      gpuMillis.set(index, (gpuMillis.get(index) ?? 0) + millis);
    }
    const used = addResources(before.used, share.resources);
    usage.set(nodeId, { used, gpuMillis, live: before.live, isExclusive: demand.exclusive ?? before.isExclusive });
  }
  return usage;
}

function placedOf(step: Step, placements: readonly Placement[]): Map<NodeId, number> {
  const placed = new Map<NodeId, number>();
  for (const { allocationId, nodeId } of placements) {
    if (parseAllocationId(allocationId)?.step === step.name) placed.set(nodeId, (placed.get(nodeId) ?? 0) + 1);
  }
  return placed;
}

function stepIn(job: Job, allocationId: Placement['allocationId']): Step {
  const ref = present(parseAllocationId(allocationId), 'allocation id');
  return present(job.steps.get(ref.step), `step ${ref.step} of ${job.id}`);
}

function total(placed: ReadonlyMap<NodeId, number>): number {
  let count = 0;
  for (const each of placed.values()) count += each;
  return count;
}
