import type { AllocationId } from '../../shared/ids.js';
import type { Allocation } from '../model/allocation.js';
import type { Job, Step } from '../model/job.js';

export interface TaskPlace {
  readonly job: Job;
  readonly step: Step;
  readonly index: number;
}

/** Attempts by their ids, from memory or from the archive. */
export interface AttemptSource {
  get(id: AllocationId): Allocation | undefined;
}
