import { type Refusal, refuse } from '../../shared/errors.js';
import { parseTaskId } from '../../shared/ids.js';
import { didYouMean } from '../../shared/suggest.js';
import type { Job, Step } from '../model/job.js';
import { type ClusterView, leftOutcome, taskPhase } from '../model/state.js';
import type { TaskPlace } from './task-place.js';

export function noSuchJob(jobId: string): Refusal {
  const isId = /^j\d+$/.test(jobId);
  return refuse('not-found', `there is no job ${jobId}`, isId ? {} : { hint: 'a job id looks like j42' });
}

export function noSuchNode(view: ClusterView, name: string): Refusal {
  const hint = didYouMean(name, view.nodes.keys()).replace(/^; /, '');
  return refuse('not-found', `there is no node ${name}`, hint === '' ? {} : { hint });
}

/** A task of a job, named `7` in its step `main`, or `train.7`. */
export function findTask(job: Job, name: string): TaskPlace | Refusal {
  const ref = parseTaskId(`${job.id}.${name}`);
  const step = ref && job.steps.get(ref.step);
  if (ref && step && isTask(step, ref.index)) return { job, step, index: ref.index };
  const steps = [...job.steps.values()].map((known) => `${known.name} (${known.spec.array})`);
  return refuse('not-found', `${job.id} has no task ${name}`, { hint: `its steps and their indexes: ${shown(steps)}` });
}

function isTask(step: Step, index: number): boolean {
  return taskPhase(step, index) !== undefined || leftOutcome(step, index) !== undefined;
}

const SHOWN_STEPS = 10;
const SHOWN_CHARACTERS = 500;

function shown(steps: readonly string[]): string {
  const text = steps.slice(0, SHOWN_STEPS).join(', ').slice(0, SHOWN_CHARACTERS);
  return steps.length > SHOWN_STEPS ? `${text} and ${steps.length - SHOWN_STEPS} more` : text;
}
