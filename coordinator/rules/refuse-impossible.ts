import { present } from '../../shared/assert.js';
import { type Refusal, refuse } from '../../shared/errors.js';
import type { JobSpec, StepSpec } from '../../shared/job-spec/spec.js';
import type { DemandClass } from '../model/demand.js';
import { describeObstacle, isPassing, obstacleTo, slotsOnEmpty } from '../model/feasible.js';
import { isTarget } from '../model/mirror.js';
import type { NodeClass } from '../model/node.js';
import type { ClusterView } from '../model/state.js';

/** A node, or the nodes that a pool may have. */
interface Holder {
  readonly name: string;
  readonly nodeClass: NodeClass;
  readonly count: number;
}

/**
 * Refuses what no known node could ever hold, even empty; a pool's nodes are known before it has any. While there is
 * neither node nor pool nothing is known, and the job waits.
 *
 * @param demands  of each step, at each of its targets
 */
export function refuseIfImpossible(
  view: ClusterView,
  spec: JobSpec,
  demands: readonly (readonly DemandClass[])[],
): Refusal | undefined {
  if (spec.allowFutureNodes) return undefined;
  const holders = [...holdersOf(view)];
  if (holders.length === 0) return undefined;
  for (const [position, step] of spec.steps.entries()) {
    for (const [choice, demand] of present(demands[position], 'demands of a step').entries()) {
      // A remote batch system is asked beforehand whether it can run the step.
      if (isTarget(demand.driver)) continue;
      const miss = missOf(holders, demand);
      if (miss) return refuseStep(step, { ...miss, at: `steps[${position}]`, choice });
    }
  }
  return undefined;
}

interface Miss {
  readonly field: 'resources' | 'gang';
  readonly message: string;
}

/** Why no such task, or gang, could ever start; undefined when it could. */
function missOf(holders: readonly Holder[], demand: DemandClass): Miss | undefined {
  const nearest = nearestMiss(holders, demand);
  if (nearest !== undefined) return { field: 'resources', message: nearest };
  const tooMany = gangMiss(holders, demand);
  return tooMany === undefined ? undefined : { field: 'gang', message: tooMany };
}

function refuseStep(
  { name, targets = [] }: StepSpec,
  { field, message, at, choice }: Miss & { readonly at: string; readonly choice: number },
): Refusal {
  const where = targets[choice] === undefined ? '' : ` at ${targets[choice]}`;
  const detail =
    field === 'resources'
      ? `no node could ever hold a task of step "${name}"${where}: ${message}`
      : `the nodes could never hold the gang of step "${name}"${where}: ${message}`;
  const isOneOfSeveral = targets.length > 1;
  return refuse('impossible-resources', detail, {
    hint: isOneOfSeveral
      ? `ask for less, leave ${targets[choice]} out, or set allowFutureNodes`
      : 'ask for less, add such a node, or set allowFutureNodes to wait for one',
    problems: [{ field: isOneOfSeveral ? `${at}.targets[${choice}]` : `${at}.${field}`, message }],
  });
}

function* holdersOf({ nodes, pools, instances, index }: ClusterView): Generator<Holder> {
  for (const { id, nodeClass } of nodes.values()) {
    if (isTarget(id)) continue;
    const instanceId = index.instanceByNode.get(id);
    const pool = instanceId && pools.get(instances.get(instanceId)?.pool ?? '');
    if (!pool || pool.intake.kind === 'retiring') yield { name: id, nodeClass, count: 1 };
  }
  for (const { spec, intake, nodeClass } of pools.values()) {
    if (intake.kind !== 'retiring') yield { name: `pool ${spec.name}`, nodeClass, count: spec.max };
  }
}

/** Why all nodes together cannot hold a gang, even empty; undefined when they can. Cost: O(nodes). */
function gangMiss(holders: readonly Holder[], demand: DemandClass): string | undefined {
  if (demand.gangSize === undefined) return undefined;
  let slots = 0;
  for (const { nodeClass, count } of holders) {
    slots += count * slotsOnEmpty(demand, nodeClass);
    if (slots >= demand.gangSize) return undefined;
  }
  return `it has ${demand.gangSize} ranks, and all nodes together hold ${slots} such tasks even when empty`;
}

/** Why the best node of all cannot hold the demand; undefined when some node can. */
function nearestMiss(holders: readonly Holder[], demand: DemandClass): string | undefined {
  const misses = new Map<string, string>();
  for (const { name, nodeClass } of holders) {
    const obstacle = obstacleTo(demand, nodeClass);
    if (!obstacle || isPassing(obstacle)) return undefined;
    if (!misses.has(nodeClass.key)) misses.set(nodeClass.key, `${name}: ${describeObstacle(obstacle)}`);
  }
  const shown = [...misses.values()].slice(0, 3);
  return misses.size > shown.length
    ? `${shown.join('; ')}; and ${misses.size - shown.length} more kinds of node`
    : shown.join('; ');
}
