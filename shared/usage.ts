/**
 * What an attempt used and where its time went besides the command, in whole numbers; what its driver could not tell,
 * or what is none, is absent.
 */
export interface Usage {
  /** CPU time, of all its processes. */
  readonly cpuMs?: number;
  /** The most memory that it held at once. */
  readonly peakMemoryBytes?: number;
  /** Bytes that it read from and wrote to disks. */
  readonly readBytes?: number;
  readonly writtenBytes?: number;
  /** Waiting for its image. */
  readonly pulledMs?: number;
  /** Bringing its files in. */
  readonly stagedInMs?: number;
  /** From its order to its command, less the two above. */
  readonly startedMs?: number;
  /** Bringing its files out. */
  readonly stagedOutMs?: number;
  /** The most memory in use at once on its GPUs, of the moments at which the agent looked. */
  readonly peakGpuMemoryBytes?: number;
  /** How busy its GPUs were, the mean of those moments; of a shared GPU nobody knows. */
  readonly gpuUtilizationPercent?: number;
}

export type UsageField = keyof Usage;

export const USAGE_FIELDS = [
  'cpuMs',
  'peakMemoryBytes',
  'readBytes',
  'writtenBytes',
  'pulledMs',
  'stagedInMs',
  'startedMs',
  'stagedOutMs',
  'peakGpuMemoryBytes',
  'gpuUtilizationPercent',
] as const satisfies readonly UsageField[];

/** The known amounts of these; undefined when there are none. */
export function usageOf(amounts: Readonly<Partial<Record<UsageField, number | null | undefined>>>): Usage | undefined {
  const known: Partial<Record<UsageField, number>> = {};
  let isKnown = false;
  for (const field of USAGE_FIELDS) {
    const amount = Math.round(amounts[field] ?? 0);
    if (amount <= 0) continue;
    known[field] = amount;
    isKnown = true;
  }
  return isKnown ? known : undefined;
}
