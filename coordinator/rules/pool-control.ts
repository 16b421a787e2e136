import { isDeepEqual } from '../../shared/equal.js';
import { type Refusal, refuse } from '../../shared/errors.js';
import type { PoolSpec } from '../../shared/pool.js';
import { didYouMean } from '../../shared/suggest.js';
import type { BerthEvent, EventOf } from '../model/events.js';
import type { Instance } from '../model/instance.js';
import type { Pool } from '../model/pool.js';
import type { ClusterView } from '../model/state.js';
import { DONE, done, type Rule } from './rule.js';

/** The pools of one origin are these. One that is not among them retires. */
export const definePools: Rule<'definePools'> = (view, { specs, by }) => {
  const events = specs.flatMap((spec) => defined(view, spec, by));
  for (const pool of view.pools.values()) {
    if (pool.definedBy !== by || specs.some(({ name }) => name === pool.spec.name)) continue;
    events.push(...retired(view, pool, { reason: 'it is not configured any more', by }));
  }
  return done(...events);
};

export const definePool: Rule<'definePool'> = (view, { spec, by }) => done(...defined(view, spec, by));

/** A pool that was retiring and is wanted again serves on. */
function defined(view: ClusterView, spec: PoolSpec, by: string): BerthEvent[] {
  const pool = view.pools.get(spec.name);
  const events: BerthEvent[] = [];
  if (!isDeepEqual(pool?.spec, spec)) events.push({ type: 'pool.defined', spec, by });
  if (pool?.intake.kind === 'retiring') events.push({ type: 'pool.enabled', pool: spec.name, by });
  return events;
}

/** At once when it has no machines; else it retires. */
export const removePool: Rule<'removePool'> = (view, { pool: name, by }) => {
  const pool = view.pools.get(name);
  if (!pool) return unknownPool(view, name);
  const user = [...view.pools.values()].find(({ spec }) => spec.fallback.includes(name));
  if (user) {
    return refuse('conflict', `pool ${user.spec.name} falls back to pool ${name}`, {
      hint: `take it out of the fallback of ${user.spec.name} first`,
    });
  }
  return done(...retired(view, pool, { reason: `removed by ${by}`, by }));
};

function retired(view: ClusterView, { spec, intake }: Pool, why: { reason: string; by: string }): BerthEvent[] {
  const pool = spec.name;
  const machines = machinesOf(view, pool);
  if (machines.length === 0) return [{ type: 'pool.removed', pool, by: why.by }];
  if (intake.kind === 'retiring') return [];
  return [{ type: 'pool.retiring', pool, ...why }, ...machines.flatMap((instance) => discarded(instance))];
}

/** A parked machine of a pool that retires is not needed for anything. */
function discarded({ id: instanceId, phase }: Instance): BerthEvent[] {
  if (phase.kind !== 'suspended') return [];
  return [{ type: 'instance.stopping', instanceId, to: 'terminate', reason: 'its pool retires' }];
}

/** What follows for a pool that retires when a machine has been parked, or is gone. */
export function retiringPool(
  view: ClusterView,
  event: EventOf<'instance.suspended' | 'instance.terminated' | 'instance.orderFailed'>,
): readonly BerthEvent[] {
  for (const { spec, intake } of view.pools.values()) {
    if (intake.kind !== 'retiring') continue;
    const machines = machinesOf(view, spec.name);
    if (machines.length === 0) return [{ type: 'pool.removed', pool: spec.name, by: `pool ${spec.name}` }];
    const instance = event.type === 'instance.suspended' && view.instances.get(event.instanceId);
    if (instance && instance.pool === spec.name) return discarded(instance);
  }
  return [];
}

/** Also opens the nodes that were cordoned with the pool. */
export const enablePool: Rule<'enablePool'> = (view, { pool: name, by }) => {
  const pool = view.pools.get(name);
  if (!pool) return unknownPool(view, name);
  if (pool.intake.kind === 'enabled') return { events: [], reply: DONE };
  return done({ type: 'pool.enabled', pool: name, by }, ...opened(view, pool, by));
};

export const disablePool: Rule<'disablePool'> = (view, { pool: name, reason, by }) => {
  const pool = view.pools.get(name);
  if (!pool) return unknownPool(view, name);
  return done({ type: 'pool.disabled', pool: name, reason, by }, ...opened(view, pool, by));
};

function opened(view: ClusterView, { spec, intake }: Pool, by: string): BerthEvent[] {
  if (intake.kind !== 'cordoned') return [];
  return machinesOf(view, spec.name).flatMap(({ nodeId }): BerthEvent[] => {
    const own = view.nodes.get(nodeId)?.intake;
    return own?.kind === 'cordoned' && own.reason === intake.reason ? [{ type: 'node.opened', nodeId, by }] : [];
  });
}

export const cordonPool: Rule<'cordonPool'> = (view, { pool: name, reason, by }) => {
  if (!view.pools.has(name)) return unknownPool(view, name);
  const cordoned = machinesOf(view, name).flatMap(({ nodeId }): BerthEvent[] =>
    view.nodes.get(nodeId)?.intake.kind === 'open' ? [{ type: 'node.cordoned', nodeId, reason, by }] : [],
  );
  return done({ type: 'pool.cordoned', pool: name, reason, by }, ...cordoned);
};

export const scalePool: Rule<'scalePool'> = (view, { pool: name, count, by }) => {
  const pool = view.pools.get(name);
  if (!pool) return unknownPool(view, name);
  const { max } = pool.spec;
  if (count !== null && count > max) {
    return refuse('conflict', `pool ${name} has at most ${max} machines, not ${count}`, {
      hint: `raise its max, or ask for ${max} at most`,
    });
  }
  return done({ type: 'pool.scaled', pool: name, count, by });
};

function machinesOf(view: ClusterView, pool: string): Instance[] {
  return [...view.instances.values()].filter((instance) => instance.pool === pool);
}

function unknownPool(view: ClusterView, name: string): Refusal {
  return refuse('not-found', `there is no pool "${name}"${didYouMean(name, view.pools.keys())}`);
}
