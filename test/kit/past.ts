import { ClassTable } from '../../coordinator/model/demand.js';
import { NO_TASKS } from '../../coordinator/model/job.js';
import type { FinishedJob, PastTask } from '../../coordinator/model/past.js';
import { allocationIdOf, jobIdOf, type NodeId } from '../../shared/ids.js';
import type { JobSpec } from '../../shared/job-spec/spec.js';
import { aJob } from './builders.js';

const BEGAN_AT = 1_790_000_000_000;

/** A job of one task that has succeeded and left memory. */
export function aPastJob(
  sequence: number,
  spec: Partial<JobSpec> = {},
  { endedAt = BEGAN_AT, submittedBy = 'tester' }: { readonly endedAt?: number; readonly submittedBy?: string } = {},
): FinishedJob {
  const whole = aJob({ name: `job-${sequence}`, ...spec });
  const steps = whole.steps.map((stepSpec, position) => ({
    name: stepSpec.name,
    ...{ position, spec: stepSpec, demand: new ClassTable().demandOf(stepSpec), tasks: new Map() },
    count: 1,
    isReleased: true,
    queuedAt: endedAt,
    untouched: [],
    counts: { ...NO_TASKS, succeeded: 1 },
  }));
  return {
    id: jobIdOf(sequence),
    ...{ sequence, submittedBy, spec: whole },
    submittedAt: endedAt,
    phase: { kind: 'finished', at: endedAt, outcome: 'succeeded' },
    steps: new Map(steps.map((step) => [step.name, step])),
  };
}

/** A task of the job's main step that succeeded at its first attempt. */
export function aPastTask(sequence: number, index: number): PastTask {
  const ref = { jobId: jobIdOf(sequence), step: 'main', index, attempt: 1 };
  return {
    ...{ jobId: ref.jobId, step: ref.step },
    task: { index, spentAttempts: 1, phase: { kind: 'done', at: 9, attempt: 1, outcome: { kind: 'succeeded' } } },
    allocations: [
      {
        ...{ ref, id: allocationIdOf(ref), nodeId: 'nöde' as NodeId, gpus: [index], committedAt: 7 },
        resources: { cpuMillis: 1_000, memoryMiB: 512, diskMiB: 0 },
        phase: { kind: 'ended', at: 8, end: { kind: 'exited', exitCode: 0, ranMs: 1 }, output: null },
      },
    ],
  };
}
