import type { EpochMs } from '../../shared/clock.js';
import type { TargetName } from '../../shared/job-spec/spec.js';
import type { Limits } from '../../shared/limits.js';
import { roughDuration } from '../../shared/units.js';
import { fleetsFor } from '../elastic/policy/fleet.js';
import type { DemandClass } from '../model/demand.js';
import { slotsOnEmpty } from '../model/feasible.js';
import { isTarget, targetNode } from '../model/mirror.js';
import type { Alternative } from '../model/route.js';
import type { ClusterView } from '../model/state.js';
import { explainLimits, type Place } from '../scheduler/explain.js';
import { explainRoomAndMachines } from '../scheduler/explain-machines.js';
import type { PlanPolicy } from '../scheduler/plan.js';
import { isUsable } from '../scheduler/slot.js';
import { nodesWithRoom } from '../scheduler/timeline.js';
import type { WaitReason } from '../scheduler/wait-reason.js';
import { type Expectation, expectationOf, type Queue, queueOf } from './expectation.js';
import type { Outlook } from './outlook.js';

export interface RoutingPolicy {
  readonly planning: PlanPolicy;
  readonly outlook: Outlook;
}

/** The step at one of its targets. */
interface Candidate {
  readonly demand: DemandClass;
  readonly runMs: number;
  readonly queue: Queue;
  readonly now: EpochMs;
}

/**
 * What can be expected of each target of a step for its waiting tasks, beside all that waits before them.
 *
 * Of nodes: the room that is there, that comes up, and that of machines which the elastic policy would start. Of a remote
 * batch system: a place there, and then what its own scheduler estimates, else what its queue took before. Pure.
 * Cost: that of some looks ahead for each target (look-ahead.ts).
 */
export function alternativesOf(
  view: ClusterView,
  place: Place,
  policy: RoutingPolicy,
  now: EpochMs,
): readonly Alternative[] {
  const { job, step } = place;
  const { targets = [] } = step.spec;
  const queue = queueOf(view, place, { planning: policy.planning, now });
  const demands = targets.map((target) => view.classes.demandOf(step.spec, target));
  const runMs = expectedRunMs(view, place, demands);
  return targets.map((target, position) => {
    const demand = demands[position] ?? step.demand;
    const candidate = { demand, runMs, queue, now };
    const found = isTarget(target)
      ? atSite(view, candidate, { target, place, policy })
      : { target, ...atNodes(view, candidate) };
    const limit = limitAt(view, { job, step: { ...step, demand } }, policy.planning.limits);
    return limit ? { ...found, ...UNUSABLE, ground: limit.message } : found;
  });
}

/** A limit that keeps its tasks from starting there; it is looked for in a view in which they go there. */
function limitAt(view: ClusterView, { job, step }: Place, limits: Limits): WaitReason | undefined {
  const there = { ...job, steps: new Map([[step.name, step]]) };
  return explainLimits({ ...view, jobs: new Map([[job.id, there]]) }, { job: there, step }, limits);
}

/** How long a task of it runs, wherever one has run, so that targets are compared by their queues. */
function expectedRunMs({ index }: ClusterView, { job, step }: Place, demands: readonly DemandClass[]): number {
  const learnt = demands.map((demand) => index.experience.runMs(demand, job.spec.name));
  return learnt.find((runMs) => runMs !== undefined) ?? step.spec.timeLimitMs ?? index.experience.usualRunMs;
}

const UNUSABLE = { startAt: null, doneAt: null, isUsable: false } as const;

function atNodes(view: ClusterView, candidate: Candidate): Omit<Alternative, 'target'> {
  const { demand, runMs, now } = candidate;
  const expected = expectationOf(view, candidate.queue, candidate);
  const { startAt, lastAt } = expected;
  const pricePerHour = priceAtNodes(view, demand, expected);
  if (startAt === null) {
    return { ...UNUSABLE, pricePerHour, ground: explainRoomAndMachines(view, demand, { now }).message };
  }
  const doneAt = lastAt === null ? null : lastAt + runMs;
  return { startAt, doneAt, isUsable: true, pricePerHour, ground: groundAtNodes(view, demand, { expected, now }) };
}

function groundAtNodes(
  view: ClusterView,
  demand: DemandClass,
  { expected: { startAt, draft }, now }: { readonly expected: Expectation; readonly now: EpochMs },
): string {
  if (startAt === null || startAt <= now) {
    const [node] = nodesWithRoom(view, demand);
    return node ? `room now on ${node.id}` : 'room now';
  }
  const inMs = roughDuration(startAt - now);
  const machine = draft.places.find(
    ({ readyAt, room }) => readyAt === startAt && slotsOnEmpty(demand, room.node.nodeClass) > 0,
  );
  if (!machine) return `room in ${inMs}, when what is before it has run`;
  const instanceId = view.index.instanceByNode.get(machine.nodeId);
  const kind = instanceId && view.instances.get(instanceId)?.phase.kind;
  if (kind === undefined) return `booting a machine of ${machine.pool} takes ${inMs}`;
  if (kind === 'suspended' || kind === 'stopping') return `resuming ${machine.nodeId} takes ${inMs}`;
  return `${machine.nodeId} is ${kind === 'resuming' ? 'resuming' : 'booting'}, for ${inMs} more`;
}

/** Nodes that nobody rents have been paid for. */
function priceAtNodes(view: ClusterView, demand: DemandClass, { draft }: Expectation): number {
  for (const node of view.nodes.values()) {
    if (!view.index.instanceByNode.has(node.id) && isUsable(node) && slotsOnEmpty(demand, node.nodeClass) > 0) return 0;
  }
  const [home] = fleetsFor(demand, draft.fleets);
  return home ? home.pool.spec.prices.onPerHour / slotsOnEmpty(demand, home.pool.nodeClass) : 0;
}

interface SiteRequest {
  readonly target: TargetName;
  readonly place: Place;
  readonly policy: RoutingPolicy;
}

function atSite(view: ClusterView, candidate: Candidate, { target, place, policy }: SiteRequest): Alternative {
  const node = view.nodes.get(targetNode(target));
  const seen = policy.outlook({ spec: place.job.spec, step: place.step.spec, target });
  const { pricePerCoreHour = 0, trouble = null, estimate = null } = seen ?? {};
  const price = { target, pricePerHour: (pricePerCoreHour * place.step.spec.resources.cpuMillis) / 1_000 };
  if (!node) return { ...price, ...UNUSABLE, ground: 'is no target of this coordinator' };
  if (!isUsable(node)) return { ...price, ...UNUSABLE, ground: `takes nothing now: ${node.intake.kind}` };
  if (trouble !== null) return { ...price, ...UNUSABLE, ground: trouble };
  const { startAt, lastAt } = expectationOf(view, candidate.queue, candidate);
  const usual = view.index.experience.queueMs(node.id);
  const waitMs = estimate?.waitMs ?? usual;
  if (startAt === null || waitMs === undefined) {
    const ground = startAt === null ? 'all places of this coordinator there are taken' : 'nobody knows its queue yet';
    return { ...price, startAt: null, doneAt: null, isUsable: startAt !== null, ground };
  }
  const doneAt = lastAt === null ? null : lastAt + waitMs + candidate.runMs;
  const wait = roughDuration(waitMs);
  const ground = estimate ? siteWords(estimate.by, waitMs) : `a job there usually waits ${wait}`;
  return { ...price, startAt: startAt + waitMs, doneAt, isUsable: true, ground };
}

function siteWords(by: string, waitMs: number): string {
  return waitMs <= 0 ? `${by} would start it now` : `${by} estimates ${roughDuration(waitMs)}`;
}
