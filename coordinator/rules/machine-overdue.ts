import type { EpochMs } from '../../shared/clock.js';
import type { InstanceId } from '../../shared/ids.js';
import { joinDeadline } from '../model/apply-instance.js';
import type { BerthEvent } from '../model/events.js';
import { type Instance, LOST_LIMIT_MS } from '../model/instance.js';
import { isSilent } from '../model/node.js';
import type { ClusterView } from '../model/state.js';

/** A machine that has not joined in time, or whose node has been silent for too long, is given up. */
export function machineOverdue(view: ClusterView, instanceId: InstanceId, now: EpochMs): BerthEvent[] {
  const instance = view.instances.get(instanceId);
  if (!instance) return [];
  return notJoined(view, instance, now) ?? silent(view, instance, now) ?? [];
}

function notJoined(view: ClusterView, instance: Instance, now: EpochMs): BerthEvent[] | undefined {
  const deadline = joinDeadline(view, instance);
  if (deadline === undefined || now < deadline) return undefined;
  const { id: instanceId, nodeId, phase } = instance;
  const minutes = Math.round((now - phase.since) / 60_000);
  const message = `${nodeId} has been ${phase.kind} for ${minutes} minutes and has not joined`;
  return [{ type: 'instance.orderFailed', instanceId, order: 'join', fault: 'timeout', message }];
}

function silent(
  view: ClusterView,
  { id: instanceId, nodeId, phase }: Instance,
  now: EpochMs,
): BerthEvent[] | undefined {
  if (phase.kind !== 'joined' && phase.kind !== 'closing') return undefined;
  const link = view.nodes.get(nodeId)?.link;
  if (!link || !isSilent(link) || now < link.since + LOST_LIMIT_MS) return undefined;
  // Nobody can confirm that it is closed. What it held has been declared lost, so nothing of it counts any more.
  return [{ type: 'instance.stopping', instanceId, to: 'terminate', reason: `its node was ${link.kind}` }];
}
