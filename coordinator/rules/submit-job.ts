import { type Refusal, refuse } from '../../shared/errors.js';
import { jobIdOf } from '../../shared/ids.js';
import type { Decision, SubmitJob } from '../engine/inputs.js';
import { ClassTable } from '../model/demand.js';
import { type ClusterView, KEY_LIFETIME_MS } from '../model/state.js';
import { QUEUE_LIMITS } from './limits.js';
import { refuseIfNeverAllowed, refuseIfQuotaIsFull } from './refuse-beyond-limits.js';
import { refuseIfImpossible } from './refuse-impossible.js';
import { refuseUnknownSecrets } from './refuse-unknown-secrets.js';
import { done, type Rule, type RulePolicy } from './rule.js';

/** A new job, the job that its key already stands for (P2), or the reason why not. */
export const submitJob: Rule<'submitJob'> = (view, input, { now, policy }) => {
  const known = input.key && view.keys.get(input.key.value);
  if (input.key && known && now - known.at < KEY_LIFETIME_MS) {
    if (known.digest === input.key.digest)
      return { events: [], reply: { kind: 'job', jobId: known.jobId, isNew: false } };
    return refuse(
      'key-reused',
      `the key "${input.key.value}" already stands for ${known.jobId}, submitted with another request`,
      {
        hint: 'use a new Idempotency-Key for a new job',
      },
    );
  }
  return refuseSpec(view, input, policy) ?? accept(view, input);
};

/** The refusal that submitting the job would get now; no event either way. */
export const rehearseJob: Rule<'rehearseJob'> = (view, input, { policy }) => refuseSpec(view, input, policy) ?? done();

/** Why this job cannot be taken on now, or ever; undefined when it can. */
function refuseSpec(
  view: ClusterView,
  input: Pick<SubmitJob, 'spec' | 'by'>,
  { limits }: Pick<RulePolicy, 'limits'>,
): Refusal | undefined {
  const classes = new ClassTable();
  const demands = input.spec.steps.map((step) => {
    return (step.targets ?? ['cluster']).map((target) => classes.demandOf(step, target));
  });
  return (
    refuseUnknownSecrets(input.spec, limits.secretKeys) ??
    refuseIfFull(view) ??
    refuseIfQuotaIsFull(view, input, limits) ??
    refuseIfNeverAllowed(input, demands, limits) ??
    refuseIfImpossible(view, input.spec, demands)
  );
}

function accept(view: ClusterView, { spec, by, key }: SubmitJob): Decision {
  const sequence = view.nextJobSequence;
  const jobId = jobIdOf(sequence);
  return {
    events: [{ type: 'job.submitted', jobId, sequence, spec, by, ...(key ? { key } : {}) }],
    reply: { kind: 'job', jobId, isNew: true },
  };
}

function refuseIfFull(view: ClusterView): Refusal | undefined {
  const { unfinishedJobCount, waitingCount } = view.index;
  const hint = 'wait for jobs to finish, or cancel some';
  if (unfinishedJobCount >= QUEUE_LIMITS.unfinishedJobs) {
    return refuse(
      'queue-full',
      `${unfinishedJobCount} jobs are unfinished, the limit is ${QUEUE_LIMITS.unfinishedJobs}`,
      { hint },
    );
  }
  if (waitingCount >= QUEUE_LIMITS.waitingTasks) {
    return refuse('queue-full', `${waitingCount} tasks are waiting, the limit is ${QUEUE_LIMITS.waitingTasks}`, {
      hint,
    });
  }
  return undefined;
}
