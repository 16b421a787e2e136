import type { DemandClass } from '../model/demand.js';
import { describeObstacle, isPassing, type Obstacle, obstacleTo } from '../model/feasible.js';
import { isTarget } from '../model/mirror.js';
import type { Node, NodeClass } from '../model/node.js';
import type { ClusterView } from '../model/state.js';
import { describeShortfall, nearness, type Shortfall, shortfall } from './shortfall.js';
import { isUsable, slotOf } from './slot.js';
import type { WaitReason } from './wait-reason.js';

/** Kinds of node that an explanation names before it only counts. */
const SHOWN_CLASSES = 20;
/** Of these, how many the message itself names. */
const SHOWN_IN_MESSAGE = 5;

/** What keeps the nodes of one class from taking a task. */
interface ClassFinding {
  /** The node of the class that comes nearest. */
  example: Node;
  nodeCount: number;
  /** Nothing of this class could ever hold the task. */
  readonly obstacle: Obstacle | undefined;
  /** Nodes that fit and are connected and open. */
  usableCount: number;
  /** What is shortest on the example; undefined while no node of the class is usable. */
  short: Shortfall | undefined;
}

/**
 * Which nodes keep a task of this demand waiting, by node class, with the binding dimension of each.
 *
 * Cost: O(nodes). Pure.
 */
export function explainCapacity(view: ClusterView, demand: DemandClass): WaitReason {
  const nodes = [...view.nodes.values()].filter(({ id }) => !isTarget(id) || id === demand.driver);
  if (nodes.length === 0) {
    return { code: 'no-nodes', message: 'no node has joined yet; start an agent with: berth agent' };
  }
  const findings = new Map<NodeClass, ClassFinding>();
  for (const node of nodes) {
    const finding = findingFor(findings, node, demand);
    if (finding.obstacle || !isUsable(node)) continue;
    finding.usableCount += 1;
    const short = shortfall(slotOf(view, node), demand);
    if (short === undefined) return { code: 'starting', message: `is being placed on ${node.id}` };
    if (finding.short && nearness(finding.short) >= nearness(short)) continue;
    finding.short = short;
    finding.example = node;
  }
  const all = [...findings.values()];
  const details = { nodeClasses: all.slice(0, SHOWN_CLASSES).map(present), nodeClassCount: all.length };
  return { ...(explainBusy(view, all) ?? explainOffline(view, demand) ?? noMatch(all)), details };
}

function findingFor(findings: Map<NodeClass, ClassFinding>, node: Node, demand: DemandClass): ClassFinding {
  const known = findings.get(node.nodeClass);
  if (known) {
    known.nodeCount += 1;
    return known;
  }
  const obstacle = obstacleTo(demand, node.nodeClass);
  const made: ClassFinding = { example: node, nodeCount: 1, obstacle, usableCount: 0, short: undefined };
  findings.set(node.nodeClass, made);
  return made;
}

/** The class as a program reads it. */
function present({ example, nodeCount, obstacle, usableCount, short }: ClassFinding) {
  const place = { example: example.id, nodeCount };
  if (obstacle) return { ...place, state: 'unfit', dimension: obstacle.kind, message: describeObstacle(obstacle) };
  if (short) {
    const { dimension, needed, free } = short;
    return {
      ...place,
      state: 'busy',
      usableCount,
      dimension,
      needed,
      free,
      message: `needs ${describeShortfall(short)}`,
    };
  }
  return { ...place, state: 'away', message: `is ${stateOf(example)}` };
}

function explainBusy(view: ClusterView, findings: readonly ClassFinding[]): WaitReason | undefined {
  let nearest: { readonly node: Node; readonly short: Shortfall } | undefined;
  let usableCount = 0;
  for (const { example, short, usableCount: count } of findings) {
    usableCount += count;
    if (short && (!nearest || nearness(short) > nearness(nearest.short))) nearest = { node: example, short };
  }
  if (!nearest) return undefined;
  const { node, short } = nearest;
  const usage = view.index.usage(node.id);
  const others = othersOf(usableCount - 1);
  if (short.dimension === 'node') {
    return { code: 'capacity', message: `${noneIsEmpty(usableCount)}${node.id} ${holders(usage.live.size)}` };
  }
  const [holder] = usage.isExclusive ? usage.live : [];
  const message = holder
    ? `waits for room on ${node.id}, which ${holder} has to itself${others && `,${others}`}`
    : `waits for ${describeShortfall(short)} on ${node.id}${others}`;
  return { code: 'capacity', message };
}

function noneIsEmpty(usableCount: number): string {
  return `waits for a node to itself: ${usableCount === 1 ? '' : `none of the ${usableCount} that fit is empty, `}`;
}

/** In a rehearsal nothing lives yet. */
function holders(liveCount: number): string {
  if (liveCount === 0) return 'would hold another of its tasks';
  return liveCount === 1 ? 'runs 1 task' : `runs ${liveCount} tasks`;
}

function othersOf(count: number): string {
  if (count === 0) return '';
  return count === 1 ? ' or on 1 other node' : ` or on ${count} other nodes`;
}

function explainOffline(view: ClusterView, demand: DemandClass): WaitReason | undefined {
  const offline: string[] = [];
  for (const node of view.nodes.values()) {
    const obstacle = obstacleTo(demand, node.nodeClass);
    if (obstacle === undefined) offline.push(`${node.id} is ${stateOf(node)}`);
    else if (isPassing(obstacle)) offline.push(`${node.id}: ${describeObstacle(obstacle)}`);
  }
  if (offline.length === 0) return undefined;
  return { code: 'unavailable', message: `no fitting node is ready: ${shown(offline)}` };
}

function noMatch(findings: readonly ClassFinding[]): WaitReason {
  const misfits = findings.flatMap(({ example, obstacle }) =>
    obstacle ? [`${example.id}: ${describeObstacle(obstacle)}`] : [],
  );
  return { code: 'no-match', message: `no node could hold it: ${shown(misfits)}` };
}

function shown(lines: readonly string[]): string {
  const some = lines.slice(0, SHOWN_IN_MESSAGE).join('; ');
  return lines.length > SHOWN_IN_MESSAGE ? `${some}; and ${lines.length - SHOWN_IN_MESSAGE} more` : some;
}

function stateOf(node: Node): string {
  return node.link.kind === 'connected' ? node.intake.kind : node.link.kind;
}
