import type { EpochMs } from '../../shared/clock.js';
import type { InstanceId, JobId } from '../../shared/ids.js';
import type { PoolSpec } from '../../shared/pool.js';
import type { ElasticDecision, ElasticPlan } from '../elastic/policy/decision.js';
import type { scale } from '../elastic/policy.js';
import type { DemandClass } from '../model/demand.js';
import { slotsOnEmpty } from '../model/feasible.js';
import type { NodeClass } from '../model/node.js';
import { type ClusterView, stepOf } from '../model/state.js';

/**
 * The rules of CLUES, an elasticity manager for batch systems, restated for comparison (de Alfonso et al., 2013; and
 * its published code, by its description): a fixed list of named nodes, a look every few seconds at what was pending at the
 * look before, a node for each job that has been pending for long, one idle node to spare whatever its kind, and
 * nodes that have been idle go. A name whose node cannot be switched on three times in a row is never tried again.
 */
const RULES = {
  lookEveryMs: 10_000,
  reactAfterMs: 120_000,
  spareCount: 1,
  maxFailures: 3,
} as const;

interface Name {
  readonly pool: PoolSpec;
  instanceId: InstanceId | null;
  /** Ordered at the last look. */
  isOrdered: boolean;
  hasJoined: boolean;
  failureCount: number;
}

interface Pending {
  readonly jobId: JobId;
  readonly demand: DemandClass;
  readonly since: EpochMs;
  readonly count: number;
}

/** A policy of its own memory, for one simulation. */
export function cluesPolicy(): typeof scale {
  const names: Name[] = [];
  let seen: readonly Pending[] = [];
  let lookAt = 0;
  return (view, _policy, now): ElasticPlan => {
    for (const { spec } of view.pools.values()) addNames(names, spec);
    if (now < lookAt) return { decisions: [], revisitAt: lookAt };
    lookAt = now - (now % RULES.lookEveryMs) + RULES.lookEveryMs;
    notePowerOns(view, names);
    const decisions = look(view, { names, seen, now });
    seen = pendingIn(view);
    return { decisions, revisitAt: lookAt };
  };
}

function addNames(names: Name[], pool: PoolSpec): void {
  const known = names.filter((name) => name.pool.name === pool.name);
  for (let count = known.length; count < pool.max; count += 1) {
    names.push({ pool, instanceId: null, isOrdered: false, hasJoined: false, failureCount: 0 });
  }
}

/** A machine that went without ever having joined was a failed power-on. */
function notePowerOns(view: ClusterView, names: readonly Name[]): void {
  const taken = new Set(names.map(({ instanceId }) => instanceId));
  const made = [...view.instances.values()].filter(({ id }) => !taken.has(id));
  for (const name of names) {
    if (name.instanceId === null) {
      const machine = made.findIndex(({ pool }) => pool === name.pool.name);
      if (machine >= 0) name.instanceId = made.splice(machine, 1)[0]?.id ?? null;
      else if (name.isOrdered) name.failureCount += 1;
      name.hasJoined = false;
    }
    name.isOrdered = false;
    noteLife(view, name);
  }
}

function noteLife(view: ClusterView, name: Name): void {
  if (name.instanceId === null) return;
  const phase = view.instances.get(name.instanceId)?.phase;
  if (phase?.kind === 'joined') {
    name.hasJoined = true;
    name.failureCount = 0;
  }
  if (phase) return;
  if (!name.hasJoined) name.failureCount += 1;
  name.instanceId = null;
}

interface Sight {
  readonly names: readonly Name[];
  readonly seen: readonly Pending[];
  readonly now: EpochMs;
}

function look(view: ClusterView, { names, seen, now }: Sight): readonly ElasticDecision[] {
  const decisions: ElasticDecision[] = [];
  const started = new Set<Name>();
  const start = (name: Name | undefined): void => {
    if (!name || started.has(name)) return;
    started.add(name);
    name.isOrdered = name.instanceId === null;
    decisions.push(powerOn(view, name));
  };
  const coming = names.filter((name) => isComing(view, name));
  for (const name of forRequests(view, { names, seen, now }, coming)) start(name);
  const warm = names.filter(({ pool }, position) => position < firstOf(names, pool) + warmOf(pool));
  for (const name of warm) if (isOff(view, name)) start(name);
  const idle = names.filter((name) => isIdle(view, name));
  const spare = idle.length + coming.length + started.size;
  if (spare < RULES.spareCount) start(names.find((name) => isOff(view, name) && !started.has(name)));
  return [...decisions, ...powerOffs(view, idle, now)];
}

/** A node for each that has been pending for long and does not fit on those that are coming. */
function forRequests(view: ClusterView, { names, seen, now }: Sight, coming: readonly Name[]): readonly Name[] {
  const found: Name[] = [];
  const room = new Map<Name, number>();
  for (const { demand, since, count } of seen) {
    if (now - since < RULES.reactAfterMs) continue;
    for (let left = count; left > 0; left -= 1) {
      const place = [...coming, ...found].find((name) => (room.get(name) ?? slots(view, name, demand)) > 0);
      const chosen = place ?? names.find((name) => fits(view, name, demand) && !found.includes(name));
      if (!chosen) break;
      if (!place) found.push(chosen);
      room.set(chosen, (room.get(chosen) ?? slots(view, chosen, demand)) - 1);
    }
  }
  return found;
}

function fits(view: ClusterView, name: Name, demand: DemandClass): boolean {
  return isOff(view, name) && slots(view, name, demand) > 0;
}

function slots(view: ClusterView, { pool }: Name, demand: DemandClass): number {
  const nodeClass: NodeClass | undefined = view.pools.get(pool.name)?.nodeClass;
  return nodeClass ? slotsOnEmpty(demand, nodeClass) : 0;
}

function powerOn(view: ClusterView, { pool, instanceId }: Name): ElasticDecision {
  const isParked = instanceId !== null && view.instances.get(instanceId)?.phase.kind === 'suspended';
  return isParked ? { kind: 'resume', instanceId, why: 'demand' } : { kind: 'request', pool: pool.name, why: 'demand' };
}

/** Those that have been idle for long, but for the spare one and the warm ones. */
function powerOffs(view: ClusterView, idle: readonly Name[], now: EpochMs): readonly ElasticDecision[] {
  const decisions: ElasticDecision[] = [];
  const onCount = new Map<string, number>();
  for (const { pool, phase } of view.instances.values()) {
    if (phase.kind === 'joined') onCount.set(pool, (onCount.get(pool) ?? 0) + 1);
  }
  for (const { pool, instanceId } of idle.toReversed()) {
    const instance = instanceId === null ? undefined : view.instances.get(instanceId);
    if (!instance || idle.length - decisions.length <= RULES.spareCount) break;
    const on = onCount.get(pool.name) ?? 0;
    if (now - Math.max(instance.phase.since, instance.busyUntil ?? 0) < pool.idleMs || on <= warmOf(pool)) continue;
    onCount.set(pool.name, on - 1);
    decisions.push({ kind: 'close', instanceId: instance.id, to: pool.onIdle, reason: 'idle' });
  }
  return decisions;
}

function isOff(view: ClusterView, { instanceId, failureCount }: Name): boolean {
  if (failureCount >= RULES.maxFailures) return false;
  return instanceId === null || view.instances.get(instanceId)?.phase.kind === 'suspended';
}

function isComing(view: ClusterView, { instanceId }: Name): boolean {
  const phase = instanceId === null ? undefined : view.instances.get(instanceId)?.phase.kind;
  return phase === 'requested' || phase === 'booting' || phase === 'resuming';
}

function isIdle(view: ClusterView, { instanceId }: Name): boolean {
  const instance = instanceId === null ? undefined : view.instances.get(instanceId);
  return instance?.phase.kind === 'joined' && view.index.usage(instance.nodeId).live.size === 0;
}

function firstOf(names: readonly Name[], pool: PoolSpec): number {
  return names.findIndex((name) => name.pool.name === pool.name);
}

function warmOf({ warm }: PoolSpec): number {
  return warm.kind === 'nodes' ? warm.count : 0;
}

function pendingIn(view: ClusterView): readonly Pending[] {
  return [...view.index.ready]
    .sort((left, right) => left.sequence - right.sequence)
    .flatMap(({ jobId, step, demand }): readonly Pending[] => {
      const known = stepOf(view, { jobId, step });
      return known ? [{ jobId, demand, since: known.queuedAt, count: known.counts.queued }] : [];
    });
}
