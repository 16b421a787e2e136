/** The value below which `share` of the samples lie (0.5 is the median), by the nearest rank. NaN without samples. */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((left, right) => left - right);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

/** To `digits` decimals: a bench's figures claim no more than they know. */
export function rounded(value: number, digits = 1): number {
  return Number(value.toFixed(digits));
}

export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
