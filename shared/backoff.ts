import type { Random } from './random.js';

export interface BackoffPolicy {
  readonly firstMs: number;
  readonly maxMs: number;
  readonly factor: number;
}

/**
 * Delay before retry number `failureCount` (1 = the first retry): exponential, capped, with full jitter above half.
 *
 * Jitter keeps a thousand agents from returning in the same second.
 */
export function backoffMs(policy: BackoffPolicy, failureCount: number, random: Random): number {
  const ceiling = Math.min(policy.maxMs, policy.firstMs * policy.factor ** Math.max(0, failureCount - 1));
  return Math.round(ceiling / 2 + (ceiling / 2) * random.next());
}
