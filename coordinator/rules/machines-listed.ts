import type { EpochMs } from '../../shared/clock.js';
import type { InstanceId } from '../../shared/ids.js';
import type { Machine } from '../elastic/provider.js';
import type { Effect } from '../engine/inputs.js';
import type { BerthEvent } from '../model/events.js';
import type { Instance } from '../model/instance.js';
import type { ClusterView } from '../model/state.js';
import { machineGone } from './machine-orders.js';
import { DONE, type Rule } from './rule.js';

/** Providers tell of what has just been ordered with a delay; before that nothing is concluded from its absence. */
const SETTLE_MS = 60_000;

/**
 * What a provider has is compared with what we believe: by the tag, whatever became of the order that made it.
 *
 * A machine that we wrote off, or never heard of again, is an orphan and goes. One that is missing is gone, once it is
 * sure that the provider would have told of it.
 */
export const machinesListed: Rule<'machinesListed'> = (view, { pool, machines, askedAt }) => {
  const events: BerthEvent[] = [];
  const effects: Effect[] = [];
  const seen = new Map<InstanceId, Machine>(machines.map((machine) => [machine.instanceId, machine]));
  for (const machine of machines) {
    if (isOrphan(view, machine)) effects.push({ kind: 'orphan', pool, ref: machine.ref });
  }
  for (const instance of view.instances.values()) {
    if (instance.pool !== pool) continue;
    const machine = seen.get(instance.id);
    events.push(...(machine ? found(view, instance, { machine, askedAt }) : missing(view, instance, askedAt)));
  }
  return { events, reply: DONE, effects };
};

function isOrphan(view: ClusterView, { instanceId, ref, state }: Machine): boolean {
  if (state === 'terminating') return false;
  const instance = view.instances.get(instanceId);
  // Given up before its provider had told of it.
  if (instance?.ref === null && instance.phase.kind === 'stopping') return true;
  // A second machine with the tag of the first one: a creation that came through twice.
  return instance === undefined || (instance.ref !== null && instance.ref !== ref);
}

interface Sight {
  readonly machine: Machine;
  readonly askedAt: EpochMs;
}

function found(view: ClusterView, instance: Instance, { machine, askedAt }: Sight): BerthEvent[] {
  const { id: instanceId, phase, nodeId } = instance;
  const isSettled = askedAt >= phase.since + SETTLE_MS;
  switch (phase.kind) {
    case 'requested':
      return machine.state === 'terminating' ? [] : [{ type: 'instance.booting', instanceId, ref: machine.ref }];
    case 'stopping':
      return phase.to === 'suspend' && machine.state === 'suspended' && askedAt >= phase.since
        ? [{ type: 'instance.suspended', instanceId }]
        : [];
    case 'joined':
    case 'closing':
      return isSettled && machine.state === 'suspended' && isForsaken(view, nodeId)
        ? [{ type: 'instance.suspended', instanceId }]
        : [];
    case 'suspended':
      return isSettled && machine.state === 'running'
        ? [{ type: 'instance.resuming', instanceId, why: 'request' }]
        : [];
    default:
      return [];
  }
}

/** Somebody has suspended it by hand, and nobody believes any more that it runs something. */
function isForsaken(view: ClusterView, nodeId: Instance['nodeId']): boolean {
  return view.nodes.get(nodeId)?.link.kind !== 'connected' && view.index.usage(nodeId).live.size === 0;
}

function missing(view: ClusterView, instance: Instance, askedAt: EpochMs): BerthEvent[] {
  const { phase, nodeId } = instance;
  if (phase.kind === 'requested') return [];
  if (phase.kind === 'stopping' && phase.to === 'terminate' && askedAt >= phase.since) {
    return machineGone(view, instance, phase.reason);
  }
  if (askedAt < phase.since + SETTLE_MS || view.nodes.get(nodeId)?.link.kind === 'connected') return [];
  return machineGone(view, instance, 'its provider does not know it any more');
}
