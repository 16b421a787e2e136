import type { BerthEvent, EventOf } from '../model/events.js';
import type { Instance } from '../model/instance.js';
import type { ClusterView } from '../model/state.js';
import { DONE, done, type Rule } from './rule.js';

/**
 * A node says that it holds nothing and takes nothing. Only then may its machine be switched off (P6), and only if that
 * answers the newest asking: the node may have been needed again meanwhile.
 */
export const agentClosed: Rule<'agentClosed'> = (view, { nodeId, closing }) => {
  const instance = instanceOf(view, nodeId);
  if (instance?.phase.kind !== 'closing' || instance.closingCount !== closing) return { events: [], reply: DONE };
  if (view.index.usage(nodeId).live.size > 0) return { events: [], reply: DONE };
  const { to, reason } = instance.phase;
  return done({ type: 'instance.stopping', instanceId: instance.id, to, reason });
};

/** What follows for its machine when a node has come. */
export function machineJoined(view: ClusterView, { nodeId }: EventOf<'node.connected'>): readonly BerthEvent[] {
  const instance = instanceOf(view, nodeId);
  switch (instance?.phase.kind) {
    case 'booting':
    case 'resuming':
    case 'suspended':
      return [{ type: 'instance.joined', instanceId: instance.id }, ...cordonedWith(view, instance)];
    default:
      // Of one that is only requested the provider has to say first what it calls it.
      return [];
  }
}

/** The provider has told of it after its node has come. */
export function machineNamed(view: ClusterView, { instanceId }: EventOf<'instance.booting'>): readonly BerthEvent[] {
  const instance = view.instances.get(instanceId);
  if (instance?.phase.kind !== 'booting') return [];
  const isHere = view.nodes.get(instance.nodeId)?.link.kind === 'connected';
  return isHere ? [{ type: 'instance.joined', instanceId }, ...cordonedWith(view, instance)] : [];
}

function cordonedWith(view: ClusterView, { pool, nodeId }: Instance): BerthEvent[] {
  const intake = view.pools.get(pool)?.intake;
  if (intake?.kind !== 'cordoned') return [];
  return [{ type: 'node.cordoned', nodeId, reason: intake.reason, by: `pool ${pool}` }];
}

function instanceOf(view: ClusterView, nodeId: Instance['nodeId']): Instance | undefined {
  const id = view.index.instanceByNode.get(nodeId);
  return id && view.instances.get(id);
}
