import Type, { type Static } from 'typebox';
import type { Refusal } from '../../shared/errors.js';
import type { Job, Step } from '../model/job.js';
import { alternativesOf } from '../routing/alternatives.js';
import { type Prediction, predictStart } from '../scheduler/predict.js';
import { lookAtJob } from './look.js';
import { JOB_STATES } from './present-job.js';
import { alternativeSchema, presentAlternative, routingOf } from './present-route.js';
import { instant, instantOrNull, nullable, oneOf, time } from './schemas.js';
import type { Service } from './service.js';

export const whenSchema = Type.Object({
  job: Type.String(),
  phase: oneOf(JOB_STATES),
  steps: Type.Array(
    Type.Object({
      step: Type.String(),
      waiting: Type.Integer({ minimum: 1, description: 'Its tasks that wait; the next of them is meant.' }),
      ground: oneOf(
        ['now', 'reservation', 'machine', 'behind', 'reason', 'unknown'],
        'now: it fits. reservation: it is next, when enough has reached its time limit. machine: a machine is on its way, expected as its pool has learnt. behind: others are served first. reason: something else must happen. unknown: nothing with a time limit makes room for it.',
      ),
      startAt: nullable(time('An estimate from time limits alone; what ends sooner, or comes in between, moves it.')),
      node: nullable(Type.String()),
      tasksBefore: nullable(Type.Integer({ minimum: 0 }), 'How many tasks are served before it.'),
      message: Type.String(),
      target: nullable(Type.String(), 'Where its waiting tasks go; null where there is nothing to choose.'),
      alternatives: Type.Array(alternativeSchema, {
        description: 'Of a step with several targets: each as it is now.',
      }),
    }),
    { description: 'Empty when nothing waits.' },
  ),
  at: time('When this was estimated.'),
});
export type WhenView = Static<typeof whenSchema>;

/** For each step with waiting tasks when the next may start, and on what ground. */
export function predictJob(service: Service, jobId: string): Promise<WhenView | Refusal> {
  return lookAtJob(service, jobId, (view, job) => {
    const policy = { limits: service.limits, now: service.clock.now() };
    const steps = [...job.steps.values()].flatMap((step) => {
      const prediction = predictStart(view, { job, step }, policy);
      if (!prediction) return [];
      const isOpen = view.index.unrouted.has(`${job.id}.${step.name}`) || step.route !== undefined;
      const alternatives = isOpen ? alternativesOf(view, { job, step }, routingOf(service), policy.now) : [];
      return [{ ...present(step, prediction), alternatives: alternatives.map(presentAlternative) }];
    });
    return { job: job.id, phase: phaseOf(job), steps, at: instant(policy.now) };
  });
}

function phaseOf(job: Job): WhenView['phase'] {
  return job.phase.kind;
}

function present(step: Step, prediction: Prediction): Omit<WhenView['steps'][number], 'alternatives'> {
  return {
    step: step.name,
    waiting: step.counts.blocked + step.counts.queued,
    ground: prediction.ground,
    startAt: instantOrNull(prediction.startAt),
    target: step.route?.target ?? null,
    node: 'nodeId' in prediction ? prediction.nodeId : null,
    tasksBefore: prediction.ground === 'behind' ? prediction.taskCount : null,
    message: describe(prediction),
  };
}

function describe(prediction: Prediction): string {
  switch (prediction.ground) {
    case 'now':
      return `is about to start on ${prediction.nodeId}`;
    case 'reservation':
      return `next on ${prediction.nodeId}, when what runs there has reached its time limit`;
    case 'machine':
      return `as soon as ${prediction.nodeId} is there, if it takes as long as usual`;
    case 'behind':
      return prediction.startAt === null
        ? `behind at least ${prediction.taskCount} tasks; too many for an estimate`
        : `behind ${prediction.taskCount} ${prediction.taskCount === 1 ? 'task' : 'tasks'}, if each takes all of its time limit`;
    case 'reason':
      return prediction.reason.message;
    case 'unknown':
      return 'no time: what it waits for runs without a time limit';
  }
}
