import { assertNever } from '../../shared/assert.js';
import type { BerthEvent } from '../model/events.js';
import { type Instance, orderOf } from '../model/instance.js';
import type { ClusterView } from '../model/state.js';
import { DONE, done, type Rule } from './rule.js';

export const machineCreated: Rule<'machineCreated'> = (view, { instanceId, ref }) => {
  if (view.instances.get(instanceId)?.phase.kind !== 'requested') return { events: [], reply: DONE };
  return done({ type: 'instance.booting', instanceId, ref });
};

/** A final no. An order that has been overtaken by another one is of no interest any more. */
export const machineRefused: Rule<'machineRefused'> = (view, { instanceId, order, fault, message }) => {
  const instance = view.instances.get(instanceId);
  if (!instance || orderOf(instance) !== order) return { events: [], reply: DONE };
  if (fault === 'not-found' && order !== 'create')
    return done(...machineGone(view, instance, 'it was not there any more'));
  switch (order) {
    case 'create':
    case 'resume':
    case 'suspend':
      return done({ type: 'instance.orderFailed', instanceId, order, fault, message });
    case 'terminate':
      // It is tried again: a machine that is paid for is not forgotten.
      return { events: [], reply: DONE };
    default:
      return assertNever(order, 'order');
  }
};

/** A machine is no more, whoever did it: what it held is lost, and its node goes with it. */
export function machineGone(view: ClusterView, instance: Instance, reason: string): BerthEvent[] {
  const { id: instanceId, nodeId } = instance;
  const events: BerthEvent[] = [];
  const end = { kind: 'lost', message: `machine ${instanceId} of node ${nodeId} is gone: ${reason}` } as const;
  for (const allocationId of view.index.usage(nodeId).live) {
    events.push({ type: 'allocation.ended', allocationId, end, output: null });
  }
  const node = view.nodes.get(nodeId);
  if (node && node.link.kind !== 'departed') events.push({ type: 'node.departed', nodeId, reason });
  events.push({ type: 'instance.terminated', instanceId, reason });
  if (node) events.push({ type: 'node.removed', nodeId, by: `pool ${instance.pool}` });
  return events;
}
