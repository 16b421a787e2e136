/** How much of what is done stays in memory, where everyday questions find it; older things are in the archive. */
export interface MemoryLimits {
  /** Done tasks, with their attempts, of all jobs together. */
  readonly doneTasks: number;
  readonly finishedJobs: number;
}

export const MEMORY_LIMITS: MemoryLimits = { doneTasks: 10_000, finishedJobs: 5_000 };
