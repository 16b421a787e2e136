import { present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import type { NodeId } from '../../shared/ids.js';
import type { PoolSpec } from '../../shared/pool.js';
import type { EventOf } from './events.js';
import { INTAKE_TRANSITIONS, LINK_TRANSITIONS, type Node, type NodeIntake, type NodeLink } from './node.js';
import type { ClusterState } from './state.js';
import { step as transition } from './transition.js';

export function nodeRegistered(state: ClusterState, event: EventOf<'node.registered'>, at: EpochMs): void {
  const { nodeId, identity, version, bootId, inventory } = event;
  const known = state.nodes.get(nodeId);
  const node: Node = {
    id: nodeId,
    identity,
    version,
    bootId,
    inventory,
    registeredAt: known?.registeredAt ?? at,
    link: known?.link ?? { kind: 'connected', since: at },
    intake: known?.intake ?? { kind: 'open' },
    nodeClass: state.classes.nodeClassOf(inventory, poolOfNode(state, nodeId)),
  };
  put(state, node);
  state.index.accounts.nodeChanged(known?.inventory, inventory);
}

export function nodeLinkChanged(state: ClusterState, nodeId: NodeId, link: NodeLink): void {
  const node = nodeOf(state, nodeId);
  put(state, { ...node, link: transition(LINK_TRANSITIONS, node.link, link) });
  if (link.kind === 'suspect') state.index.addDeadline(link.until, { kind: 'lease', nodeId });
}

export function nodeIntakeChanged(state: ClusterState, nodeId: NodeId, to: NodeIntake): void {
  const node = nodeOf(state, nodeId);
  const intake = transition(INTAKE_TRANSITIONS, node.intake, keepReason(node.intake, to));
  put(state, { ...node, intake });
  if (intake.kind === 'draining' && intake.deadlineAt !== null) {
    state.index.addDeadline(intake.deadlineAt, { kind: 'drain', nodeId });
  }
}

/** A drained node keeps the reason for which it was drained. */
function keepReason(from: NodeIntake, to: NodeIntake): NodeIntake {
  return to.kind === 'drained' && from.kind === 'draining' ? { ...to, reason: from.reason } : to;
}

export function nodeRemoved(state: ClusterState, event: EventOf<'node.removed'>): void {
  state.index.accounts.nodeChanged(nodeOf(state, event.nodeId).inventory, undefined);
  state.nodes.delete(event.nodeId);
  state.index.nodeChanges.note(event.nodeId);
}

/** What a pool's specification says of its nodes counts for those that are there too. */
export function poolOfNodesChanged(state: ClusterState, pool: PoolSpec): void {
  for (const instance of state.instances.values()) {
    const node = instance.pool === pool.name && state.nodes.get(instance.nodeId);
    if (node) put(state, { ...node, nodeClass: state.classes.nodeClassOf(node.inventory, pool) });
  }
}

function poolOfNode(state: ClusterState, nodeId: NodeId): PoolSpec | undefined {
  const instanceId = state.index.instanceByNode.get(nodeId);
  const instance = instanceId && state.instances.get(instanceId);
  return instance && state.pools.get(instance.pool)?.spec;
}

function put(state: ClusterState, node: Node): void {
  state.nodes.set(node.id, node);
  state.index.nodeChanges.note(node.id);
}

function nodeOf(state: ClusterState, nodeId: NodeId): Node {
  return present(state.nodes.get(nodeId), `node ${nodeId}`);
}
