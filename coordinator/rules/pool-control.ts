import { isDeepEqual } from '../../shared/equal.js';
import { type Refusal, refuse } from '../../shared/errors.js';
import type { PoolSpec } from '../../shared/pool.js';
import { didYouMean } from '../../shared/suggest.js';
import type { BerthEvent } from '../model/events.js';
import type { Instance } from '../model/instance.js';
import type { Pool } from '../model/pool.js';
import type { ClusterView } from '../model/state.js';
import { DONE, done, type Rule } from './rule.js';

/** The pools of one origin are these. One that is not among them goes when its machines are gone. */
export const definePools: Rule<'definePools'> = (view, { specs, by }) => {
  const events: BerthEvent[] = specs
    .filter((spec) => isNews(view, spec))
    .map((spec) => ({ type: 'pool.defined', spec, by }));
  for (const { spec, definedBy, intake } of view.pools.values()) {
    const pool = spec.name;
    if (definedBy !== by || specs.some(({ name }) => name === pool)) continue;
    if (machinesOf(view, pool).length === 0) events.push({ type: 'pool.removed', pool, by });
    else if (intake.kind === 'enabled') {
      events.push({ type: 'pool.disabled', pool, reason: 'it is not configured any more', by });
    }
  }
  return done(...events);
};

export const definePool: Rule<'definePool'> = (view, { spec, by }) =>
  isNews(view, spec) ? done({ type: 'pool.defined', spec, by }) : done();

function isNews(view: ClusterView, spec: PoolSpec): boolean {
  return !isDeepEqual(view.pools.get(spec.name)?.spec, spec);
}

export const removePool: Rule<'removePool'> = (view, { pool: name, by }) => {
  const pool = view.pools.get(name);
  if (!pool) return unknownPool(view, name);
  const user = [...view.pools.values()].find(({ spec }) => spec.fallback.includes(name));
  if (user) {
    return refuse('conflict', `pool ${user.spec.name} falls back to pool ${name}`, {
      hint: `take it out of the fallback of ${user.spec.name} first`,
    });
  }
  const count = machinesOf(view, name).length;
  if (count === 0) return done({ type: 'pool.removed', pool: name, by });
  return refuse('conflict', `pool ${name} still has ${count} ${count === 1 ? 'machine' : 'machines'}`, {
    hint: `disable it, let its machines go, and remove it then: berth pools disable ${name}`,
  });
};

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
