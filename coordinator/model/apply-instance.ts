import { assertNever, present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import type { InstanceId, NodeId } from '../../shared/ids.js';
import type { Allocation } from './allocation.js';
import { nodeIntakeChanged, nodeLinkChanged } from './apply-node.js';
import { changePool } from './apply-pool.js';
import type { EventOf } from './events.js';
import {
  INSTANCE_TRANSITIONS,
  type Instance,
  type InstancePhase,
  isOn,
  joinLimitMs,
  LOST_LIMIT_MS,
} from './instance.js';
import { costOf } from './machine-times.js';
import { servedBy } from './node-share.js';
import { cooled, learnt, type Pool } from './pool.js';
import type { ClusterState, ClusterView } from './state.js';
import { step as transition } from './transition.js';

export function instanceRequested(state: ClusterState, event: EventOf<'instance.requested'>, at: EpochMs): void {
  const { instanceId: id, sequence, pool, nodeId, why } = event;
  state.nextInstanceSequence = sequence + 1;
  const phase = { kind: 'requested', since: at } as const;
  const sums = { closingCount: 0, powerOnCount: 1, busyUntil: null, onMs: 0, suspendedMs: 0 };
  putInstance(state, { id, pool, nodeId, ref: null, requestedAt: at, why, phase, ...sums });
}

export function instanceBooting(state: ClusterState, event: EventOf<'instance.booting'>, at: EpochMs): void {
  const { instanceId, ref } = event;
  putInstance(state, { ...moved(state, instanceId, { kind: 'booting', since: at }), ref });
}

/** Its node has held the attempt until now. */
export function nodeServed(state: ClusterState, allocation: Allocation, at: EpochMs): void {
  const id = state.index.instanceByNode.get(allocation.nodeId);
  if (!id) return;
  const instance = instanceOf(state, id);
  const servedMs = (instance.servedMs ?? 0) + servedBy(allocation, at);
  state.instances.set(id, { ...instance, servedMs });
}

/** The last thing that its node held has ended. */
export function nodeIdle(state: ClusterState, nodeId: NodeId, at: EpochMs): void {
  const id = state.index.instanceByNode.get(nodeId);
  if (id) state.instances.set(id, { ...instanceOf(state, id), busyUntil: at });
}

/** Its node is here. How long that took is learnt; an order that was granted since a refusal ends the pool's pauses. */
export function instanceJoined(state: ClusterState, { instanceId }: EventOf<'instance.joined'>, at: EpochMs): void {
  const before = instanceOf(state, instanceId);
  const instance = moved(state, instanceId, { kind: 'joined', since: at });
  putInstance(state, instance);
  const node = present(state.nodes.get(instance.nodeId), `node of ${instanceId}`);
  if (node.intake.kind === 'closing') nodeIntakeChanged(state, node.id, { kind: 'open' });
  changePool(state, instance.pool, (pool) => ({
    cooling: isOver(pool, before, at) ? null : pool.cooling,
    nodeClass: node.nodeClass,
    times: timesAfter(pool, before, at),
  }));
}

/** That a parked machine came back says nothing of new ones, unless it was itself what had been refused. */
function isOver({ cooling }: Pool, { phase, requestedAt }: Instance, at: EpochMs): boolean {
  if (cooling === null) return true;
  if (phase.kind === 'booting') return requestedAt >= cooling.since;
  return phase.kind === 'resuming' && phase.since >= cooling.until && at >= cooling.until;
}

function timesAfter({ times }: Pool, { phase, requestedAt }: Instance, at: EpochMs): Pool['times'] {
  switch (phase.kind) {
    case 'booting':
      return { ...times, bootMs: learnt(times.bootMs, at - requestedAt) };
    case 'resuming':
      return { ...times, resumeMs: learnt(times.resumeMs, at - phase.since) };
    default:
      return times;
  }
}

export function instanceClosing(state: ClusterState, event: EventOf<'instance.closing'>, at: EpochMs): void {
  const { instanceId, to, reason } = event;
  const instance = moved(state, instanceId, { kind: 'closing', since: at, to, reason });
  putInstance(state, { ...instance, closingCount: instance.closingCount + 1 });
  nodeIntakeChanged(state, instance.nodeId, { kind: 'closing', since: at, reason });
}

export function instanceReopened(state: ClusterState, { instanceId }: EventOf<'instance.reopened'>, at: EpochMs): void {
  const instance = moved(state, instanceId, { kind: 'joined', since: at });
  putInstance(state, instance);
  nodeIntakeChanged(state, instance.nodeId, { kind: 'open' });
}

export function instanceStopping(state: ClusterState, event: EventOf<'instance.stopping'>, at: EpochMs): void {
  const { instanceId, to, reason } = event;
  putInstance(state, moved(state, instanceId, { kind: 'stopping', since: at, to, reason }));
}

/** It is parked; its node keeps its record, so that it is known again. */
export function instanceSuspended(state: ClusterState, event: EventOf<'instance.suspended'>, at: EpochMs): void {
  const before = instanceOf(state, event.instanceId);
  const instance = moved(state, event.instanceId, { kind: 'suspended', since: at });
  putInstance(state, instance);
  const node = state.nodes.get(instance.nodeId);
  if (node?.intake.kind === 'open') {
    nodeIntakeChanged(state, node.id, { kind: 'closing', since: at, reason: 'suspended' });
  }
  if (node && node.link.kind !== 'departed') nodeLinkChanged(state, node.id, { kind: 'departed', since: at });
  if (before.phase.kind !== 'stopping') return;
  const { since } = before.phase;
  changePool(state, instance.pool, ({ times }) => ({ times: { ...times, offMs: learnt(times.offMs, at - since) } }));
}

export function instanceResuming(state: ClusterState, { instanceId }: EventOf<'instance.resuming'>, at: EpochMs): void {
  const instance = moved(state, instanceId, { kind: 'resuming', since: at });
  putInstance(state, { ...instance, powerOnCount: instance.powerOnCount + 1 });
}

export function instanceTerminated(state: ClusterState, event: EventOf<'instance.terminated'>, at: EpochMs): void {
  remove(state, instanceOf(state, event.instanceId), at);
}

/** An order that will not be carried out. What it means for the machine depends on the order; its pool cools down. */
export function instanceOrderFailed(state: ClusterState, event: EventOf<'instance.orderFailed'>, at: EpochMs): void {
  const { instanceId, order, fault, message } = event;
  const instance = instanceOf(state, instanceId);
  switch (order) {
    case 'create':
      changePool(state, instance.pool, (pool) => ({ cooling: cooled(pool, { fault, message }, at) }));
      countFailure(state, instance);
      remove(state, instance, at);
      return;
    case 'resume':
      changePool(state, instance.pool, (pool) => ({ cooling: cooled(pool, { fault, message }, at) }));
      countFailure(state, instance);
      putInstance(state, moved(state, instanceId, { kind: 'suspended', since: at }));
      return;
    case 'suspend':
      putInstance(state, moved(state, instanceId, { kind: 'stopping', since: at, to: 'terminate', reason: message }));
      return;
    case 'join':
      changePool(state, instance.pool, (pool) => ({ cooling: cooled(pool, { fault, message }, at) }));
      countFailure(state, instance);
      putInstance(state, moved(state, instanceId, { kind: 'stopping', since: at, to: 'terminate', reason: message }));
      return;
    default:
      assertNever(order, 'order');
  }
}

function countFailure(state: ClusterState, { pool: name }: Instance): void {
  changePool(state, name, ({ totals }) => ({
    totals: { ...totals, failedPowerOnCount: totals.failedPowerOnCount + 1 },
  }));
}

/** The machine in its next phase, with the time of the one that it leaves added up. */
function moved(state: ClusterState, id: InstanceId, phase: InstancePhase): Instance {
  const before = instanceOf(state, id);
  return summed({ ...before, phase: transition(INSTANCE_TRANSITIONS, before.phase, phase) }, before.phase, phase.since);
}

function summed(instance: Instance, left: InstancePhase, at: EpochMs): Instance {
  const spentMs = at - left.since;
  if (isOn(left)) return { ...instance, onMs: instance.onMs + spentMs };
  return { ...instance, suspendedMs: instance.suspendedMs + spentMs };
}

export function putInstance(state: ClusterState, instance: Instance): void {
  state.instances.set(instance.id, instance);
  state.index.instanceByNode.set(instance.nodeId, instance.id);
  const at = joinDeadline(state, instance);
  if (at !== undefined) state.index.addDeadline(at, { kind: 'instance', instanceId: instance.id });
}

/** When it has to have joined; undefined while nobody waits for it. */
export function joinDeadline(view: ClusterView, { phase, pool: name, requestedAt }: Instance): EpochMs | undefined {
  const { times } = present(view.pools.get(name), `pool ${name}`);
  switch (phase.kind) {
    case 'requested':
    case 'booting':
      return requestedAt + joinLimitMs(times.bootMs);
    case 'resuming':
      return phase.since + joinLimitMs(times.resumeMs);
    default:
      return undefined;
  }
}

/** A node of which nothing has been heard for long takes its machine with it. */
export function remindOfSilence(state: ClusterState, nodeId: NodeId, since: EpochMs): void {
  const instanceId = state.index.instanceByNode.get(nodeId);
  if (instanceId) state.index.addDeadline(since + LOST_LIMIT_MS, { kind: 'instance', instanceId });
}

function remove(state: ClusterState, instance: Instance, at: EpochMs): void {
  const { onMs, suspendedMs, powerOnCount } = summed(instance, instance.phase, at);
  state.instances.delete(instance.id);
  state.index.instanceByNode.delete(instance.nodeId);
  changePool(state, instance.pool, ({ spec, totals }) => {
    const cost = (totals.cost ?? 0) + costOf(spec.prices, { onMs, suspendedMs });
    const sums = {
      onMs: totals.onMs + onMs,
      suspendedMs: totals.suspendedMs + suspendedMs,
      powerOnCount: totals.powerOnCount + powerOnCount,
    };
    return { totals: { ...totals, ...sums, ...(cost === 0 ? {} : { cost }) } };
  });
}

function instanceOf(state: ClusterState, id: InstanceId): Instance {
  return present(state.instances.get(id), `instance ${id}`);
}
