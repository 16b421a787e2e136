import { present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import { isDeepEqual } from '../../shared/equal.js';
import { POOL_LABEL, type PoolSpec } from '../../shared/pool.js';
import { poolOfNodesChanged } from './apply-node.js';
import type { EventOf } from './events.js';
import { costOf, machineTimes } from './machine-times.js';
import type { NodeClass } from './node.js';
import { NO_TOTALS, type Pool, type PoolIntake, type PoolTotals } from './pool.js';
import type { ClusterState } from './state.js';

/** A pool is new, or wanted otherwise: what was learnt of machines that are made differently is forgotten. */
export function poolDefined(state: ClusterState, { spec, by }: EventOf<'pool.defined'>, at: EpochMs): void {
  const known = state.pools.get(spec.name);
  const isSameKind =
    known !== undefined &&
    known.spec.exclusive === spec.exclusive &&
    JSON.stringify(known.spec.node) === JSON.stringify(spec.node);
  state.pools.set(spec.name, {
    spec,
    definedBy: by,
    intake: known?.intake ?? { kind: 'enabled' },
    requested: known?.requested ?? null,
    cooling: null,
    times: isSameKind ? known.times : spec.times,
    nodeClass: isSameKind ? known.nodeClass : expectedClass(state, spec),
    totals: known ? repriced(state, known, { spec, at }) : NO_TOTALS,
  });
  if (known && known.spec.exclusive !== spec.exclusive) poolOfNodesChanged(state, spec);
}

/** What was on and parked until now was so at the prices of then. */
function repriced(
  state: ClusterState,
  { spec: before, totals }: Pool,
  { spec, at }: { readonly spec: PoolSpec; readonly at: EpochMs },
): PoolTotals {
  if (isDeepEqual(before.prices, spec.prices)) return totals;
  let cost = totals.cost ?? 0;
  for (const instance of state.instances.values()) {
    if (instance.pool !== spec.name) continue;
    const times = machineTimes(instance, at);
    cost += costOf(before.prices, times) - costOf(spec.prices, times);
  }
  return { ...totals, cost };
}

/** As one of its nodes will be, by its specification. */
export function expectedClass(state: ClusterState, spec: PoolSpec): NodeClass {
  const { name, node } = spec;
  return state.classes.nodeClassOf({ ...node, labels: { ...node.labels, [POOL_LABEL]: name } }, spec);
}

export function poolRemoved(state: ClusterState, { pool }: EventOf<'pool.removed'>): void {
  state.pools.delete(pool);
}

export function poolIntakeChanged(state: ClusterState, name: string, intake: PoolIntake): void {
  changePool(state, name, () => ({ intake }));
}

export function poolScaled(state: ClusterState, { pool, count }: EventOf<'pool.scaled'>): void {
  changePool(state, pool, () => ({ requested: count }));
}

export function changePool(state: ClusterState, name: string, change: (pool: Pool) => Partial<Pool>): void {
  const pool = present(state.pools.get(name), `pool ${name}`);
  const changed = { ...pool, ...change(pool) };
  state.pools.set(name, changed);
  if (changed.cooling !== null && changed.cooling !== pool.cooling) wakeAt(state, name, changed.cooling.until);
}

export function wakeAt(state: ClusterState, pool: string, at: EpochMs): void {
  state.index.addDeadline(at, { kind: 'pool', pool });
}
