import { child, type Field, hint, invalid, item } from '../job-spec/findings.js';
import type { PoolSpec } from '../pool.js';

/** Reports names of fallback pools that do not exist, and those that lead back to the pool itself. */
export function reportFallbacks(pool: PoolSpec, pools: readonly PoolSpec[], entry: Field): void {
  const field = child(entry, 'fallback');
  const names = pools.map(({ name }) => name).filter((name) => name !== pool.name);
  for (const [position, name] of pool.fallback.entries()) {
    const own = item(field, position, name);
    if (name === pool.name) invalid(own, 'is the pool itself; name other pools, or remove it');
    else if (!names.includes(name)) invalid(own, `there is no pool "${name}"${hint(own, name, names)}`);
    else if (leadsTo(pool.name, name, pools))
      invalid(own, `"${name}" falls back to "${pool.name}" itself; remove one of the two`);
  }
}

/** Does the chain of fallbacks from `from` on reach `wanted`? */
function leadsTo(wanted: string, from: string, pools: readonly PoolSpec[]): boolean {
  const seen = new Set<string>();
  const open = [from];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (seen.has(name)) continue;
    seen.add(name);
    const next = pools.find((pool) => pool.name === name)?.fallback ?? [];
    if (next.includes(wanted)) return true;
    open.push(...next);
  }
  return false;
}
