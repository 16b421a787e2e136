import type { EpochMs } from '../../shared/clock.js';
import type { InstanceId } from '../../shared/ids.js';
import { POOL_LABEL, type PowerOff } from '../../shared/pool.js';
import type { DemandClass } from '../model/demand.js';
import { obstacleTo, slotsOnEmpty } from '../model/feasible.js';
import type { Instance, ScaleReason } from '../model/instance.js';
import type { Pool } from '../model/pool.js';
import { type ClusterView, stepOf } from '../model/state.js';
import type { PlanPolicy } from '../scheduler/plan.js';

export type ElasticDecision =
  /** Make a new machine. */
  | { readonly kind: 'request'; readonly pool: string; readonly why: ScaleReason }
  | { readonly kind: 'resume'; readonly instanceId: InstanceId; readonly why: ScaleReason }
  /** Its node takes nothing new; it is switched off when it has confirmed that it is empty. */
  | { readonly kind: 'close'; readonly instanceId: InstanceId; readonly to: PowerOff; readonly reason: string }
  /** Take a closing node back. */
  | { readonly kind: 'reopen'; readonly instanceId: InstanceId; readonly why: ScaleReason };

export interface ElasticPlan {
  readonly decisions: readonly ElasticDecision[];
  /** When to look again although nothing happens; undefined: when something happens. */
  readonly revisitAt: EpochMs | undefined;
}

export interface ElasticPolicy {
  readonly planning: PlanPolicy;
}

/** Which machines to start, to take back and to let go. Pure. */
export function scale(view: ClusterView, _policy: ElasticPolicy, now: EpochMs): ElasticPlan {
  const decisions: ElasticDecision[] = [];
  let revisitAt: EpochMs | undefined;
  for (const pool of view.pools.values()) {
    const machines = [...view.instances.values()].filter((instance) => instance.pool === pool.spec.name);
    const on = machines.filter(({ phase }) => ['requested', 'booting', 'joined', 'resuming'].includes(phase.kind));
    const wanted = Math.min(pool.spec.max, Math.max(floorOf(pool), usedCount(view, on) + neededCount(view, pool)));
    if (wanted > on.length && mayOrder(pool, now)) {
      decisions.push(...started(pool, machines, wanted - on.length));
      continue;
    }
    let surplus = on.length - wanted;
    for (const instance of on) {
      const idleAt = idleSince(view, instance);
      if (surplus <= 0 || idleAt === undefined) continue;
      const dueAt = idleAt + pool.spec.idleMs;
      if (now < dueAt) {
        revisitAt = Math.min(revisitAt ?? dueAt, dueAt);
        continue;
      }
      surplus -= 1;
      decisions.push({ kind: 'close', instanceId: instance.id, to: pool.spec.onIdle, reason: 'idle' });
    }
  }
  return { decisions, revisitAt };
}

function mayOrder({ intake, cooling }: Pool, now: EpochMs): boolean {
  return intake.kind === 'enabled' && (cooling === null || cooling.until <= now);
}

function floorOf({ spec, requested }: Pool): number {
  return Math.max(spec.warm.kind === 'nodes' ? spec.warm.count : 0, requested ?? 0);
}

function started({ spec }: Pool, machines: readonly Instance[], count: number): ElasticDecision[] {
  const found: ElasticDecision[] = [];
  const take = (kind: 'closing' | 'suspended'): readonly Instance[] =>
    machines.filter(({ phase }) => phase.kind === kind);
  for (const { id: instanceId } of take('closing')) found.push({ kind: 'reopen', instanceId, why: 'demand' });
  for (const { id: instanceId } of take('suspended')) found.push({ kind: 'resume', instanceId, why: 'demand' });
  for (let made = machines.length; made < spec.max; made += 1) {
    found.push({ kind: 'request', pool: spec.name, why: 'demand' });
  }
  return found.slice(0, count);
}

function usedCount(view: ClusterView, on: readonly Instance[]): number {
  return on.filter(({ nodeId }) => view.index.usage(nodeId).live.size > 0).length;
}

/** How many of its machines the waiting tasks that only fit there would fill. */
function neededCount(view: ClusterView, pool: Pool): number {
  let machines = 0;
  for (const entry of view.index.ready) {
    const step = stepOf(view, entry);
    if (step && isFor(entry.demand, pool)) machines += step.counts.queued / slotsOnEmpty(entry.demand, pool.nodeClass);
  }
  return Math.ceil(machines);
}

function isFor(demand: DemandClass, pool: Pool): boolean {
  const wanted = demand.constraints.find(({ key, op }) => key === `label:${POOL_LABEL}` && op === 'in');
  if (wanted && !wanted.values.includes(pool.spec.name)) return false;
  return obstacleTo(demand, pool.nodeClass) === undefined;
}

/** Since when its node has had nothing to do; undefined while it has, or cannot be asked. */
function idleSince(view: ClusterView, { phase, nodeId, busyUntil }: Instance): EpochMs | undefined {
  const node = view.nodes.get(nodeId);
  if (phase.kind !== 'joined' || node?.link.kind !== 'connected') return undefined;
  if (node.intake.kind !== 'open' && node.intake.kind !== 'drained') return undefined;
  if (view.index.usage(nodeId).live.size > 0) return undefined;
  return Math.max(phase.since, busyUntil ?? 0);
}
