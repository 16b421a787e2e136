/** How long things waited, in the unit that was given. */
export interface WaitFigures {
  readonly mean: number;
  readonly p50: number;
  readonly p95: number;
  readonly max: number;
}

/** Of at least one wait. */
export function waitFigures(waits: readonly number[]): WaitFigures {
  const sorted = [...waits].sort((left, right) => left - right);
  return {
    mean: sorted.reduce((sum, wait) => sum + wait, 0) / sorted.length,
    p50: quantile(sorted, 0.5),
    p95: quantile(sorted, 0.95),
    max: sorted.at(-1) ?? 0,
  };
}

/** The smallest value that this share of all does not exceed (nearest rank). */
function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
}
