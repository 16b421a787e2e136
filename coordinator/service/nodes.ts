import { isRefusal, type Refusal } from '../../shared/errors.js';
import type { NodeId } from '../../shared/ids.js';
import { noSuchNode } from './find.js';
import { type NodeView, presentNode } from './present-node.js';
import { type MachineView, presentMachine } from './present-pool.js';
import type { Service } from './service.js';

/** All nodes, by name, and the rented machines that are to become one. */
export function listNodes(service: Service): Promise<{ nodes: NodeView[]; machines: MachineView[] }> {
  return service.engine.read((view) => {
    const nodes = [...view.nodes.values()].sort((left, right) => (left.id < right.id ? -1 : 1));
    const coming = [...view.instances.values()].filter(({ nodeId }) => !view.nodes.has(nodeId));
    const now = service.clock.now();
    return {
      nodes: nodes.map((node) => presentNode(view, node, service.usageOf(node.id))),
      machines: coming.map((machine) => presentMachine(machine, now)),
    };
  });
}

export function showNode(service: Service, name: string): Promise<NodeView | Refusal> {
  return service.engine.read((view) => {
    const node = view.nodes.get(name as NodeId);
    return node ? presentNode(view, node, service.usageOf(node.id)) : noSuchNode(view, name);
  });
}

export interface DrainRequest {
  readonly reason: string;
  /** What still runs after this long is stopped and requeued; null waits for ever. */
  readonly deadlineMs: number | null;
  readonly by: string;
}

export function drainNode(service: Service, name: string, request: DrainRequest): Promise<NodeView | Refusal> {
  return change(service, name, { type: 'drainNode', nodeId: name as NodeId, ...request });
}

export interface CordonRequest {
  readonly reason: string;
  readonly by: string;
}

export function cordonNode(service: Service, name: string, request: CordonRequest): Promise<NodeView | Refusal> {
  return change(service, name, { type: 'cordonNode', nodeId: name as NodeId, ...request });
}

/** Ends a cordon or a drain. */
export function openNode(service: Service, name: string, by: string): Promise<NodeView | Refusal> {
  return change(service, name, { type: 'openNode', nodeId: name as NodeId, by });
}

/** Forgets a node that is away and holds nothing. */
export async function removeNode(service: Service, name: string, by: string): Promise<Refusal | undefined> {
  const known = await showNode(service, name);
  if (isRefusal(known)) return known;
  const reply = await service.engine.handle({ type: 'removeNode', nodeId: name as NodeId, by });
  return isRefusal(reply) ? reply : undefined;
}

type NodeInput = Extract<
  Parameters<Service['engine']['handle']>[0],
  { readonly type: 'drainNode' | 'cordonNode' | 'openNode' }
>;

async function change(service: Service, name: string, input: NodeInput): Promise<NodeView | Refusal> {
  const known = await showNode(service, name);
  if (isRefusal(known)) return known;
  const reply = await service.engine.handle(input);
  return isRefusal(reply) ? reply : showNode(service, name);
}
