import { assertNever } from '../../shared/assert.js';
import type { Constraint } from '../../shared/job-spec/spec.js';
import { isEligibleGpu } from '../../shared/resources.js';
import type { DemandClass } from './demand.js';
import type { NodeClass } from './node.js';

/** What keeps an empty node of a class from ever holding a task of a demand. */
export type Obstacle =
  | { readonly kind: 'driver'; readonly driver: string }
  | { readonly kind: 'constraint'; readonly constraint: Constraint; readonly actual: string | undefined }
  | { readonly kind: Dimension; readonly needed: number; readonly available: number };

/** The dimensions in which a demand may exceed a node. GPUs count only devices of the wanted model and memory. */
export type Dimension = 'cpu' | 'memory' | 'disk' | 'gpu';

const LABEL_PREFIX = 'label:';

/** The first obstacle, or undefined when an empty node of the class could hold the task. Pure. Cost: O(constraints + GPUs). */
export function obstacleTo(demand: DemandClass, node: NodeClass): Obstacle | undefined {
  if (!node.drivers.includes(demand.driver)) return { kind: 'driver', driver: demand.driver };
  for (const constraint of demand.constraints) {
    const actual = actualOf(constraint.key, node);
    if (!isMet(constraint, actual)) return { kind: 'constraint', constraint, actual };
  }
  const { resources: need } = demand;
  const { capacity } = node;
  if (need.cpuMillis > capacity.cpuMillis)
    return { kind: 'cpu', needed: need.cpuMillis, available: capacity.cpuMillis };
  if (need.memoryMiB > capacity.memoryMiB) {
    return { kind: 'memory', needed: need.memoryMiB, available: capacity.memoryMiB };
  }
  if (need.diskMiB > capacity.diskMiB) return { kind: 'disk', needed: need.diskMiB, available: capacity.diskMiB };
  return gpuObstacle(demand, node);
}

function gpuObstacle({ gpus }: DemandClass, node: NodeClass): Obstacle | undefined {
  if (gpus === null) return undefined;
  let available = 0;
  for (const device of node.gpus) if (isEligibleGpu(device, gpus)) available += 1;
  return available < gpus.count ? { kind: 'gpu', needed: gpus.count, available } : undefined;
}

function actualOf(key: string, node: NodeClass): string | undefined {
  return key.startsWith(LABEL_PREFIX) ? node.labels[key.slice(LABEL_PREFIX.length)] : node.attributes[key];
}

function isMet(constraint: Constraint, actual: string | undefined): boolean {
  switch (constraint.op) {
    case 'in':
      return actual !== undefined && constraint.values.includes(actual);
    case 'not-in':
      return actual === undefined || !constraint.values.includes(actual);
    case 'exists':
      return actual !== undefined;
    case 'absent':
      return actual === undefined;
    default:
      return assertNever(constraint.op, 'constraint operator');
  }
}

/** The obstacle in words, as the end of "n1: ...". */
export function describeObstacle(obstacle: Obstacle): string {
  switch (obstacle.kind) {
    case 'driver':
      return `it has no ${obstacle.driver} driver`;
    case 'constraint': {
      const { key, op, values } = obstacle.constraint;
      const wanted = values.length > 0 ? `${op} (${values.join(', ')})` : op;
      return `${key} is ${obstacle.actual ?? 'not set'}, wanted ${wanted}`;
    }
    case 'cpu':
      return `needs ${obstacle.needed / 1000} CPUs, it has ${obstacle.available / 1000}`;
    case 'memory':
      return `needs ${obstacle.needed} MiB of memory, it has ${obstacle.available} MiB`;
    case 'disk':
      return `needs ${obstacle.needed} MiB of disk, it has ${obstacle.available} MiB`;
    case 'gpu':
      return `needs ${obstacle.needed} such GPUs, it has ${obstacle.available}`;
    default:
      return assertNever(obstacle, 'obstacle');
  }
}
