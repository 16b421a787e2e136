import type { EpochMs } from '../../shared/clock.js';
import type { DemandClass } from '../model/demand.js';
import { type Dimension, describeObstacle, obstacleTo } from '../model/feasible.js';
import type { Job, Step } from '../model/job.js';
import type { Node } from '../model/node.js';
import type { ClusterView } from '../model/state.js';
import { isUsable, openGpus, type Slot, slotOf } from './board.js';

/** Why tasks of a step wait (P7). `code` is stable; `message` is for people. */
export interface WaitReason {
  readonly code: 'held' | 'needs' | 'backoff' | 'no-nodes' | 'unavailable' | 'no-match' | 'capacity' | 'starting';
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

/** Kinds of node that an explanation names before it only counts. */
const SHOWN_NODES = 5;

/**
 * The reason why the step's waiting tasks are not placed, or undefined when none waits.
 *
 * @param now  epoch ms on the coordinator's clock
 * Cost: O(nodes + retries). Pure.
 */
export function explainStep(view: ClusterView, job: Job, step: Step, now: EpochMs): WaitReason | undefined {
  if (step.counts.blocked + step.counts.queued === 0) return undefined;
  if (job.phase.kind === 'held')
    return { code: 'held', message: `the job is held; release it with: berth release ${job.id}` };
  if (!step.isReleased) return explainNeeds(job, step);
  return explainBackoff(step, now) ?? explainCapacity(view, step.demand);
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

/** Only when every queued task is backing off; else the others' reason is the one that matters. */
function explainBackoff(step: Step, now: EpochMs): WaitReason | undefined {
  let earliest = Number.POSITIVE_INFINITY;
  let backingOff = 0;
  for (const { phase } of step.tasks.values()) {
    if (phase.kind !== 'queued' || phase.notBefore <= now) continue;
    backingOff += 1;
    earliest = Math.min(earliest, phase.notBefore);
  }
  if (backingOff < step.counts.queued) return undefined;
  const seconds = Math.ceil((earliest - now) / 1000);
  return {
    code: 'backoff',
    message: `retries in ${seconds} s`,
    details: { notBefore: new Date(earliest).toISOString() },
  };
}

function explainCapacity(view: ClusterView, demand: DemandClass): WaitReason {
  if (view.nodes.size === 0) {
    return { code: 'no-nodes', message: 'no node has joined yet; start an agent with: berth agent' };
  }
  const misfits: string[] = [];
  const offline: string[] = [];
  const busy: { readonly node: Node; readonly short: Shortfall }[] = [];
  for (const node of view.nodes.values()) {
    const obstacle = obstacleTo(demand, node.nodeClass);
    if (obstacle) misfits.push(`${node.id}: ${describeObstacle(obstacle)}`);
    else if (!isUsable(node)) offline.push(`${node.id} is ${stateOf(node)}`);
    else {
      const short = shortfall(slotOf(view, node), demand);
      if (short === undefined) return { code: 'starting', message: `is being placed on ${node.id}` };
      busy.push({ node, short });
    }
  }
  return explainBusy(busy) ?? explainOffline(offline) ?? noMatch(misfits);
}

interface Shortfall {
  readonly dimension: Dimension;
  readonly needed: number;
  readonly free: number;
}

/** The dimension that is shortest, relative to what is needed; undefined when the task fits now. */
function shortfall(slot: Slot, demand: DemandClass): Shortfall | undefined {
  const { resources, gpus } = demand;
  const freeGpus = gpus === null ? 0 : openGpus(slot, gpus).length;
  const rows: Shortfall[] = [
    { dimension: 'cpu', needed: resources.cpuMillis, free: slot.free.cpuMillis },
    { dimension: 'memory', needed: resources.memoryMiB, free: slot.free.memoryMiB },
    { dimension: 'disk', needed: resources.diskMiB, free: slot.free.diskMiB },
    { dimension: 'gpu', needed: gpus?.count ?? 0, free: freeGpus },
  ];
  const short = rows.filter((row) => row.free < row.needed);
  return short.sort((left, right) => left.free / left.needed - right.free / right.needed)[0];
}

function explainBusy(busy: readonly { readonly node: Node; readonly short: Shortfall }[]): WaitReason | undefined {
  const nearest = [...busy].sort(
    (left, right) => right.short.free / right.short.needed - left.short.free / left.short.needed,
  )[0];
  if (!nearest) return undefined;
  const nodes = busy.slice(0, SHOWN_NODES).map(({ node, short }) => ({ node: node.id, ...short }));
  return {
    code: 'capacity',
    message: `waits for ${describeShortfall(nearest.short)} on ${nearest.node.id}${others(busy.length - 1)}`,
    details: { nodes, nodeCount: busy.length },
  };
}

function describeShortfall({ dimension, needed, free }: Shortfall): string {
  switch (dimension) {
    case 'cpu':
      return `${needed / 1000} CPUs (${free / 1000} free)`;
    case 'memory':
      return `${needed} MiB of memory (${free} free)`;
    case 'disk':
      return `${needed} MiB of disk (${free} free)`;
    case 'gpu':
      return `${needed} GPUs (${free} free)`;
  }
}

function others(count: number): string {
  if (count === 0) return '';
  return count === 1 ? ' or on 1 other node' : ` or on ${count} other nodes`;
}

function explainOffline(offline: readonly string[]): WaitReason | undefined {
  if (offline.length === 0) return undefined;
  return {
    code: 'unavailable',
    message: `every fitting node is away: ${shown(offline)}`,
    details: { nodes: offline.slice(0, SHOWN_NODES) },
  };
}

function noMatch(misfits: readonly string[]): WaitReason {
  return {
    code: 'no-match',
    message: `no node could hold it: ${shown(misfits)}`,
    details: { nodes: misfits.slice(0, SHOWN_NODES) },
  };
}

function shown(lines: readonly string[]): string {
  const some = lines.slice(0, SHOWN_NODES).join('; ');
  return lines.length > SHOWN_NODES ? `${some}; and ${lines.length - SHOWN_NODES} more` : some;
}

function stateOf(node: Node): string {
  return node.link.kind === 'connected' ? node.intake.kind : node.link.kind;
}
