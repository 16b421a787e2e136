import { present } from '../../shared/assert.js';
import { type Refusal, refuse } from '../../shared/errors.js';
import { jobIdOf } from '../../shared/ids.js';
import type { JobSpec } from '../../shared/job-spec/spec.js';
import type { Decision, SubmitJob } from '../engine/inputs.js';
import type { DemandClass } from '../model/demand.js';
import { ClassTable } from '../model/demand.js';
import { describeObstacle, isPassing, obstacleTo, slotsOnEmpty } from '../model/feasible.js';
import { isTarget } from '../model/mirror.js';
import { type ClusterView, KEY_LIFETIME_MS } from '../model/state.js';
import { QUEUE_LIMITS } from './limits.js';
import { refuseIfNeverAllowed, refuseIfQuotaIsFull } from './refuse-beyond-limits.js';
import { refuseUnknownSecrets } from './refuse-unknown-secrets.js';
import { done, type Rule, type RulePolicy } from './rule.js';

/** A new job, the job that its key already stands for (P2), or the reason why not. */
export const submitJob: Rule<'submitJob'> = (view, input, { now, policy }) => {
  const known = input.key && view.keys.get(input.key.value);
  if (input.key && known && now - known.at < KEY_LIFETIME_MS) {
    if (known.digest === input.key.digest)
      return { events: [], reply: { kind: 'job', jobId: known.jobId, isNew: false } };
    return refuse(
      'key-reused',
      `the key "${input.key.value}" already stands for ${known.jobId}, submitted with another request`,
      {
        hint: 'use a new Idempotency-Key for a new job',
      },
    );
  }
  return refuseSpec(view, input, policy) ?? accept(view, input);
};

/** The refusal that submitting the job would get now; no event either way. */
export const rehearseJob: Rule<'rehearseJob'> = (view, input, { policy }) => refuseSpec(view, input, policy) ?? done();

/** Why this job cannot be taken on now, or ever; undefined when it can. */
function refuseSpec(
  view: ClusterView,
  input: Pick<SubmitJob, 'spec' | 'by'>,
  { limits }: Pick<RulePolicy, 'limits'>,
): Refusal | undefined {
  const classes = new ClassTable();
  const demands = input.spec.steps.map((step) => classes.demandOf(step));
  return (
    refuseUnknownSecrets(input.spec, limits.secretKeys) ??
    refuseIfFull(view) ??
    refuseIfQuotaIsFull(view, input, limits) ??
    refuseIfNeverAllowed(input, demands, limits) ??
    refuseIfImpossible(view, input.spec, demands)
  );
}

function accept(view: ClusterView, { spec, by, key }: SubmitJob): Decision {
  const sequence = view.nextJobSequence;
  const jobId = jobIdOf(sequence);
  return {
    events: [{ type: 'job.submitted', jobId, sequence, spec, by, ...(key ? { key } : {}) }],
    reply: { kind: 'job', jobId, isNew: true },
  };
}

function refuseIfFull(view: ClusterView): Refusal | undefined {
  const { unfinishedJobCount, waitingCount } = view.index;
  const hint = 'wait for jobs to finish, or cancel some';
  if (unfinishedJobCount >= QUEUE_LIMITS.unfinishedJobs) {
    return refuse(
      'queue-full',
      `${unfinishedJobCount} jobs are unfinished, the limit is ${QUEUE_LIMITS.unfinishedJobs}`,
      { hint },
    );
  }
  if (waitingCount >= QUEUE_LIMITS.waitingTasks) {
    return refuse('queue-full', `${waitingCount} tasks are waiting, the limit is ${QUEUE_LIMITS.waitingTasks}`, {
      hint,
    });
  }
  return undefined;
}

/**
 * Refuses what no known node could ever hold, even empty, nor one that a pool can have made. While no node has joined yet
 * nothing is known, and the job waits.
 */
function refuseIfImpossible(view: ClusterView, spec: JobSpec, demands: readonly DemandClass[]): Refusal | undefined {
  const hasNodes = [...view.nodes.keys()].some((nodeId) => !isTarget(nodeId));
  if (spec.allowFutureNodes) return undefined;
  for (const [position, step] of spec.steps.entries()) {
    // A target is asked beforehand whether it can run the step; of nodes that have yet to join nothing is known.
    if (step.target !== undefined || !hasNodes) continue;
    const demand = present(demands[position], 'demand of a step');
    const nearest = nearestMiss(view, demand);
    const tooMany = nearest === undefined ? gangMiss(view, demand) : undefined;
    if (nearest === undefined && tooMany === undefined) continue;
    const detail = nearest
      ? `no node could ever hold a task of step "${step.name}": ${nearest}`
      : `the nodes could never hold the gang of step "${step.name}": ${tooMany}`;
    return refuse('impossible-resources', detail, {
      hint: 'ask for less, add such a node, or set allowFutureNodes to wait for one',
      problems: [{ field: `steps[${position}].${nearest ? 'resources' : 'gang'}`, message: nearest ?? tooMany ?? '' }],
    });
  }
  return undefined;
}

/** Why all nodes together cannot hold a gang, even empty; undefined when they can, with those that pools can have made. Cost: O(nodes + instances). */
function gangMiss(view: ClusterView, demand: DemandClass): string | undefined {
  if (demand.gangSize === undefined) return undefined;
  let slots = 0;
  for (const { nodeClass } of view.nodes.values()) {
    slots += slotsOnEmpty(demand, nodeClass);
    if (slots >= demand.gangSize) return undefined;
  }
  for (const { spec, nodeClass } of view.pools.values()) {
    const made = [...view.instances.values()].filter(
      ({ pool, nodeId }) => pool === spec.name && view.nodes.has(nodeId),
    );
    slots += slotsOnEmpty(demand, nodeClass) * Math.max(0, spec.max - made.length);
    if (slots >= demand.gangSize) return undefined;
  }
  return `it has ${demand.gangSize} ranks, and all nodes together hold ${slots} such tasks even when empty`;
}

/** Why the best node of all cannot hold the demand; undefined when some node can, or a pool's. */
function nearestMiss(view: ClusterView, demand: DemandClass): string | undefined {
  for (const { nodeClass } of view.pools.values()) if (!obstacleTo(demand, nodeClass)) return undefined;
  const misses = new Map<string, string>();
  for (const node of view.nodes.values()) {
    if (isTarget(node.id)) continue;
    const obstacle = obstacleTo(demand, node.nodeClass);
    if (!obstacle || isPassing(obstacle)) return undefined;
    if (!misses.has(node.nodeClass.key)) misses.set(node.nodeClass.key, `${node.id}: ${describeObstacle(obstacle)}`);
  }
  const shown = [...misses.values()].slice(0, 3);
  return misses.size > shown.length
    ? `${shown.join('; ')}; and ${misses.size - shown.length} more kinds of node`
    : shown.join('; ');
}
