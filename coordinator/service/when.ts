import Type, { type Static } from 'typebox';
import type { EpochMs } from '../../shared/clock.js';
import type { Refusal } from '../../shared/errors.js';
import type { Job, Step } from '../model/job.js';
import type { ClusterView } from '../model/state.js';
import { alternativesOf } from '../routing/alternatives.js';
import { expectedByMachines } from '../routing/expectation.js';
import type { Place } from '../scheduler/explain.js';
import { type Prediction, predictStart } from '../scheduler/predict.js';
import { lookAtJob } from './look.js';
import { JOB_STATES } from './present-job.js';
import { alternativeSchema, presentAlternative, routingOf } from './present-route.js';
import { instant, instantOrNull, nullable, oneOf, time } from './schemas.js';
import type { Service } from './service.js';
import { Explanations } from './waiting.js';

export const whenSchema = Type.Object({
  job: Type.String(),
  phase: oneOf(JOB_STATES),
  steps: Type.Array(
    Type.Object({
      step: Type.String(),
      waiting: Type.Integer({ minimum: 1, description: 'Its tasks that wait; the next of them is meant.' }),
      ground: oneOf(
        ['now', 'reservation', 'machine', 'behind', 'remote', 'reason', 'unknown'],
        'now: it fits. reservation: it is next, when enough has reached its time limit. machine: machines are on their way, or will be, expected as their pool has learnt. behind: others are served first. remote: it is in the queue of a batch system. reason: something else must happen. unknown: nothing with a time limit makes room for it.',
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
    const now = service.clock.now();
    const explanations = new Explanations(view, service);
    const steps = [...job.steps.values()].flatMap((step) => {
      const here = predictHere(view, { job, step }, service);
      return [...(here ? [here] : []), ...remoteRows(step, explanations)];
    });
    return { job: job.id, phase: phaseOf(job), steps, at: instant(now) };
  });
}

type Row = WhenView['steps'][number];

/** Of tasks that have no place yet. */
function predictHere(view: ClusterView, place: Place, service: Service): Row | undefined {
  const { step } = place;
  const now = service.clock.now();
  const byLimits = predictStart(view, place, { limits: service.limits, now });
  if (!byLimits) return undefined;
  const routing = routingOf(service);
  const prediction = withMachines(byLimits, () => expectedByMachines(view, place, { planning: routing.planning, now }));
  const isChosen = (step.spec.targets?.length ?? 0) > 1;
  const alternatives = isChosen ? alternativesOf(view, place, routing, now) : [];
  return { ...present(step, prediction), alternatives: alternatives.map(presentAlternative) };
}

/** Machines for those who wait make room before time limits do; and one that is on its way may be for others. */
function withMachines(
  byLimits: Prediction,
  byMachines: () => ReturnType<typeof expectedByMachines>,
): Prediction | Behind {
  if (!MAY_BE_BY_MACHINES.has(byLimits.ground)) return byLimits;
  const expected = byMachines();
  if (!expected) return byLimits;
  const isKnown =
    byLimits.ground === 'machine' ? expected.taskCount === 0 : isBefore(byLimits.startAt, expected.startAt);
  return isKnown ? byLimits : { ground: 'machine', ...expected };
}

function isBefore(at: EpochMs | null, other: EpochMs): boolean {
  return at !== null && at <= other;
}

/** So many tasks are served before it, and machines are started for all of them. */
type Behind = { readonly ground: 'machine'; readonly startAt: EpochMs; readonly taskCount: number };

const MAY_BE_BY_MACHINES: ReadonlySet<Prediction['ground']> = new Set(['reservation', 'behind', 'machine', 'unknown']);

/** Of tasks that wait in the queue of a remote batch system, by what it says of them. */
function remoteRows(step: Step, explanations: Explanations): Row[] {
  const rows = new Map<string, Row>();
  for (const { phase } of step.tasks.values()) {
    const remote = phase.kind === 'placed' ? explanations.remoteOf(phase.allocationId) : undefined;
    if (!remote?.isWaiting) continue;
    const { message, expectedAt } = remote;
    const waiting = (rows.get(message)?.waiting ?? 0) + 1;
    const startAt = instantOrNull(expectedAt);
    rows.set(message, {
      ...{ step: step.name, waiting, ground: 'remote', startAt, node: null, tasksBefore: null, message },
      ...{ target: step.route?.target ?? null, alternatives: [] },
    });
  }
  return [...rows.values()];
}

function phaseOf(job: Job): WhenView['phase'] {
  return job.phase.kind;
}

function present(step: Step, prediction: Prediction | Behind): Omit<Row, 'alternatives'> {
  return {
    step: step.name,
    waiting: step.counts.blocked + step.counts.queued,
    ground: prediction.ground,
    startAt: instantOrNull(prediction.startAt),
    target: step.route?.target ?? null,
    node: 'nodeId' in prediction ? prediction.nodeId : null,
    tasksBefore: 'taskCount' in prediction ? prediction.taskCount : null,
    message: describe(prediction),
  };
}

function describe(prediction: Prediction | Behind): string {
  switch (prediction.ground) {
    case 'now':
      return `is about to start on ${prediction.nodeId}`;
    case 'reservation':
      return `next on ${prediction.nodeId}, when what runs there has reached its time limit`;
    case 'machine':
      if ('taskCount' in prediction)
        return `${behindWords(prediction.taskCount)}machines are there that are started for those who wait`;
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

function behindWords(taskCount: number): string {
  if (taskCount === 0) return 'as soon as ';
  return `behind ${taskCount} ${taskCount === 1 ? 'task' : 'tasks'}, as soon as `;
}
