/** Limits of what the coordinator takes on; beyond them a submission is refused with `queue-full`. */
export const QUEUE_LIMITS = {
  unfinishedJobs: 200_000,
  waitingTasks: 10_000_000,
} as const;
