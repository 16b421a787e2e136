import type { Refusal } from '../errors.js';
import {
  child,
  type Field,
  type FieldPath,
  type Finding,
  invalid,
  isRecord,
  refusalOf,
  type TextPosition,
} from '../job-spec/findings.js';
import { hasShape, readList } from '../job-spec/read.js';
import type { PoolSpec } from '../pool.js';
import { reportFallbacks } from './fallback.js';
import { POOL_LIMITS } from './limits.js';
import { type PoolForm, readPool } from './pool.js';

export interface ParseOptions {
  /** Pools that there are beside those of the input, which may fall back to them. */
  readonly others?: readonly PoolSpec[];
  /** Where a field stands in the text that the input was read from. */
  readonly locate?: (path: FieldPath) => TextPosition | undefined;
}

/** The pools of a file: a list, or an object with `pools`. Refuses with `invalid-spec` and every problem at once. */
export function parsePools(input: unknown, { locate, others }: ParseOptions = {}): readonly PoolSpec[] | Refusal {
  const root: Field = { path: [], value: input, findings: [] };
  const pools = readPools(poolsField(root), 'provided', others);
  return answer(pools, root.findings, locate);
}

/**
 * One pool, as the API takes it.
 *
 * @param name    what the path calls it; the input need not repeat it
 * @param others  the pools that there are beside it, which it may fall back to
 */
export function parsePool(
  input: unknown,
  { name, others }: { readonly name: string; readonly others: readonly PoolSpec[] },
): PoolSpec | Refusal {
  const value = isRecord(input) ? { name, ...input } : input;
  const root: Field = { path: [], value, findings: [] };
  const pool = readPool(root, 'provided');
  const given = child(root, 'name').value;
  if (pool && given !== name) invalid(child(root, 'name'), `is "${pool.name}", but the request is about "${name}"`);
  if (pool) reportFallbacks(pool, [...others.filter((other) => other.name !== name), pool], root);
  return answer(pool, root.findings);
}

/** A list of pools within a larger input. */
export function readPools(field: Field, form: PoolForm, others: readonly PoolSpec[] = []): readonly PoolSpec[] {
  const pools = readList(field, POOL_LIMITS.maxPools, (entry) => {
    const pool = readPool(entry, form);
    return pool && { pool, entry };
  });
  const seen = new Set<string>();
  for (const { pool, entry } of pools ?? []) {
    if (seen.has(pool.name)) invalid(child(entry, 'name'), `"${pool.name}" is the name of another pool already`);
    seen.add(pool.name);
  }
  const read = (pools ?? []).map(({ pool }) => pool);
  const all = [...others.filter(({ name }) => !seen.has(name)), ...read];
  for (const { pool, entry } of pools ?? []) reportFallbacks(pool, all, entry);
  return read;
}

function poolsField(root: Field): Field {
  if (!isRecord(root.value)) return root;
  hasShape(root, { fields: ['pools'] }, 'an object with pools');
  const pools = child(root, 'pools');
  return pools.value === undefined ? { ...pools, value: null } : pools;
}

function answer<Value>(
  value: Value | undefined,
  findings: readonly Finding[],
  locate?: (path: FieldPath) => TextPosition | undefined,
): Value | Refusal {
  return value === undefined || findings.length > 0 ? refusalOf(findings, locate) : value;
}
