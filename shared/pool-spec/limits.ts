const HOUR_MS = 3_600_000;

export const POOL_LIMITS = {
  maxPools: 64,
  /** Of one pool. */
  maxMachines: 10_000,
  maxFallbacks: 8,
  /** Of warm job slots. */
  maxSlots: 100_000,
  maxIdleMs: 7 * 24 * HOUR_MS,
  /** To boot, to resume, to go. */
  maxPowerMs: 24 * HOUR_MS,
  maxPricePerHour: 1_000_000,
} as const;

/** How long things take that nobody has said, until the pool has learnt it. */
export const POOL_DEFAULTS = {
  idleMs: 5 * 60_000,
  times: { bootMs: 180_000, resumeMs: 60_000, offMs: 60_000 },
} as const;
