import { type Refusal, refuse } from '../../shared/errors.js';

/**
 * Where a listing goes on: a few non-negative integers, opaque to the caller.
 *
 * They are keys and no offsets, so that nothing is shown twice or skipped when the list grows meanwhile.
 */
export function formatCursor(keys: readonly number[]): string {
  return Buffer.from(keys.join('.')).toString('base64url');
}

export function parseCursor(text: string, keyCount: number): readonly number[] | Refusal {
  const decoded = Buffer.from(text, 'base64url').toString('latin1');
  const keys = /^\d{1,15}(\.\d{1,15})*$/.test(decoded) ? decoded.split('.').map(Number) : [];
  if (keys.length === keyCount) return keys;
  const message = 'it is not a cursor of this listing; pass nextCursor of the page before, unchanged';
  return refuse('invalid-request', `cursor: ${message}`, { problems: [{ field: 'cursor', message }] });
}
