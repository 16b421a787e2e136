import { type Refusal, refuse } from '../../shared/errors.js';
import { type JobId, parseTaskId } from '../../shared/ids.js';
import { didYouMean } from '../../shared/suggest.js';
import { type ClusterView, taskPhase } from '../model/state.js';
import type { TaskPlace } from './present-task.js';

export function noSuchJob(jobId: string): Refusal {
  const isId = /^j\d+$/.test(jobId);
  return refuse('not-found', `there is no job ${jobId}`, isId ? {} : { hint: 'a job id looks like j42' });
}

export function noSuchNode(view: ClusterView, name: string): Refusal {
  const hint = didYouMean(name, view.nodes.keys()).replace(/^; /, '');
  return refuse('not-found', `there is no node ${name}`, hint === '' ? {} : { hint });
}

/** A task of a job, named `7` in its step `main`, or `train.7`. */
export function findTask(view: ClusterView, jobId: string, name: string): TaskPlace | Refusal {
  const job = view.jobs.get(jobId as JobId);
  if (!job) return noSuchJob(jobId);
  const ref = parseTaskId(`${job.id}.${name}`);
  const step = ref && job.steps.get(ref.step);
  if (ref && step && taskPhase(step, ref.index)) return { job, step, index: ref.index };
  const steps = [...job.steps.values()].map((known) => `${known.name} (${known.spec.array})`);
  return refuse('not-found', `${jobId} has no task ${name}`, { hint: `its steps and their indexes: ${shown(steps)}` });
}

const SHOWN_STEPS = 10;
const SHOWN_CHARACTERS = 500;

function shown(steps: readonly string[]): string {
  const text = steps.slice(0, SHOWN_STEPS).join(', ').slice(0, SHOWN_CHARACTERS);
  return steps.length > SHOWN_STEPS ? `${text} and ${steps.length - SHOWN_STEPS} more` : text;
}
