import { present } from '../../shared/assert.js';
import type { ClassTable } from './demand.js';
import type { Job, Step } from './job.js';
import type { Task } from './task.js';

/** A job as JSON: what its specification says of a step is not said again. */
export type StoredJob = Omit<Job, 'steps'> & { readonly steps: readonly StoredStep[] };
type StoredStep = Omit<Step, 'spec' | 'demand' | 'tasks' | 'position'> & { readonly tasks: readonly Task[] };

export function storedJob(job: Job): StoredJob {
  return { ...job, steps: [...job.steps.values()].map(storedStep) };
}

function storedStep({ spec: _spec, demand: _demand, position: _position, tasks, ...step }: Step): StoredStep {
  return { ...step, tasks: [...tasks.values()] };
}

export function restoreSteps({ id, spec, steps }: StoredJob, classes: ClassTable): Map<string, Step> {
  const restored = new Map<string, Step>();
  for (const [position, stepSpec] of spec.steps.entries()) {
    const kept = present(steps[position], `step ${stepSpec.name} of ${id}`);
    const tasks = new Map(kept.tasks.map((task) => [task.index, task]));
    const demand = classes.demandOf(stepSpec, kept.route?.target);
    restored.set(stepSpec.name, { ...kept, position, spec: stepSpec, demand, tasks });
  }
  return restored;
}
