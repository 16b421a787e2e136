import { child, type Field, invalid } from '../job-spec/findings.js';
import type { PoolSpec, SlotShape } from '../pool.js';
import { fits, type Resources } from '../resources.js';

/** Reports settings that cannot hold together, at the one that asks for too much. */
export function reportContradictions(pool: PoolSpec, entry: Field): void {
  const complain = (name: string, message: string): void => void invalid(child(entry, name), message);
  const { min, max, quota, predeploy } = pool;
  if (min > max) complain('min', `${min} is more than max: ${max}; raise max, or lower min`);
  if (predeploy > max) complain('predeploy', `${predeploy} is more than max: ${max}; raise max, or lower predeploy`);
  if (quota !== null && min > quota)
    complain('min', `${min} is more than quota: ${quota}; the provider grants no more`);
  if (predeploy > 0 && pool.onIdle === 'terminate')
    complain('predeploy', 'parks machines suspended, but they are terminated when idle; write onIdle: suspend');
  reportWarm(pool, complain);
}

function reportWarm({ warm, max, quota, node, exclusive }: PoolSpec, complain: Complain): void {
  const most = Math.min(max, quota ?? max);
  const limit = most === max ? `max: ${max}` : `quota: ${quota}`;
  if (warm.kind === 'nodes') {
    if (warm.count > most) complain('warm', `${warm.count} is more than ${limit}; lower warm`);
    return;
  }
  const { capacity, gpus } = node;
  const slots = slotsOf({ capacity, gpuCount: gpus.length }, warm.of);
  const each = exclusive ? Math.min(1, slots) : slots;
  if (each === 0) complain('warm', 'asks for room that no node of the pool has; make "of" smaller than "node"');
  else if (warm.count > each * most)
    complain('warm', `${warm.count} slots are more than ${limit} with ${each} a node; lower warm`);
}

type Complain = (name: string, message: string) => void;

/** How many such tasks fit into so much at once. */
export function slotsOf(has: { capacity: Resources; gpuCount: number }, { resources, gpuCount }: SlotShape): number {
  const { capacity } = has;
  if (!fits(resources, capacity) || gpuCount > has.gpuCount) return 0;
  const parts = [
    [capacity.cpuMillis, resources.cpuMillis],
    [capacity.memoryMiB, resources.memoryMiB],
    [capacity.diskMiB, resources.diskMiB],
    [has.gpuCount, gpuCount],
  ] as const;
  return Math.min(...parts.map(([has, needs]) => (needs > 0 ? Math.floor(has / needs) : Number.POSITIVE_INFINITY)));
}
