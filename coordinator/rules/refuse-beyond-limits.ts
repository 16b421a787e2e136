import { type Refusal, refuse } from '../../shared/errors.js';
import type { JobSpec, StepSpec } from '../../shared/job-spec/spec.js';
import { taskCountOf } from '../../shared/job-spec/task-indexes.js';
import { type Limits, type OwnedQuota, ownerWords, quotasOf, type Submitter } from '../../shared/limits.js';
import { didYouMean } from '../../shared/suggest.js';
import { cpusOf } from '../../shared/units.js';
import { accountOf, type Holdings, holdingsOf, scaleHoldings } from '../model/accounts.js';
import type { DemandClass } from '../model/demand.js';
import type { ClusterView } from '../model/state.js';

/** A submission, as far as limits read it. */
interface Submitted {
  readonly spec: JobSpec;
  readonly by: string;
}

/**
 * Refuses a job whose tasks would wait beyond what its namespace or its user may have waiting.
 *
 * Tasks wait from their submission on, blocked and held ones too.
 */
export function refuseIfQuotaIsFull(view: ClusterView, { spec, by }: Submitted, limits: Limits): Refusal | undefined {
  const taskCount = spec.steps.reduce((sum, step) => sum + taskCountOf(step), 0);
  const who = submitterOf({ spec, by });
  for (const { owner, name, quota } of quotasOf(limits, who)) {
    const limit = quota.waitingCount;
    if (limit === undefined) continue;
    const { waitingCount } = accountOf(view.index.accounts, owner, who);
    if (waitingCount + taskCount <= limit) continue;
    return refuse(
      'queue-full',
      `${waitingCount} tasks of ${ownerWords({ owner, name })} are waiting, with these ${taskCount} more there would be ${waitingCount + taskCount}; the quota is ${limit}`,
      { hint: taskCount > limit ? 'submit fewer tasks at once' : 'wait for tasks to start, or cancel some' },
    );
  }
  return undefined;
}

function submitterOf({ spec: { namespace, name }, by }: Submitted): Submitter {
  return { namespace, user: by, jobName: name };
}

/**
 * Refuses a step that asks for more than its quotas, or for licences that the cluster does not have.
 *
 * @param demands  of each step, at each of its targets
 */
export function refuseIfNeverAllowed(
  { spec, by }: Submitted,
  demands: readonly (readonly DemandClass[])[],
  limits: Limits,
): Refusal | undefined {
  const quotas = quotasOf(limits, submitterOf({ spec, by }));
  for (const [position, step] of spec.steps.entries()) {
    const tooSmall = (demands[position] ?? []).map((demand) => quotaTooSmall(demand, quotas));
    const beyond = licenceMissing(step, limits) ?? (tooSmall.includes(undefined) ? undefined : tooSmall[0]);
    if (beyond === undefined) continue;
    const whole = step.gang === undefined ? 'no task' : 'no gang';
    return refuse('impossible-resources', `${whole} of step "${step.name}" could ever start: ${beyond.message}`, {
      hint: 'ask for less, or ask the operator for more',
      problems: [{ field: `steps[${position}].resources.${beyond.field}`, message: beyond.message }],
    });
  }
  return undefined;
}

interface Beyond {
  readonly field: string;
  readonly message: string;
}

function licenceMissing(step: StepSpec, { licences }: Limits): Beyond | undefined {
  const together = step.gang === undefined ? 1 : taskCountOf(step);
  for (const [name, count] of Object.entries(step.resources.licences ?? {})) {
    const needed = together * count;
    const total = licences.get(name) ?? 0;
    if (needed <= total) continue;
    const message =
      total === 0
        ? `the cluster has no licence "${name}"${didYouMean(name, licences.keys())}`
        : `it needs ${needed} licences "${name}", the cluster has ${total}`;
    return { field: `licences.${name}`, message };
  }
  return undefined;
}

const RESOURCE_WORDS: Readonly<
  Record<keyof Holdings, { readonly field: string; readonly text: (n: number) => string }>
> = {
  cpuMillis: { field: 'cpus', text: (millis) => `${cpusOf(millis)} CPUs` },
  memoryMiB: { field: 'memory', text: (mebibytes) => `${mebibytes} MiB of memory` },
  gpuMillis: { field: 'gpus', text: (millis) => `${millis / 1_000} GPUs` },
  taskCount: { field: 'tasks', text: (count) => `${count} tasks at once` },
};

function quotaTooSmall(demand: DemandClass, quotas: readonly OwnedQuota[]): Beyond | undefined {
  const needed = scaleHoldings(holdingsOf(demand), demand.gangSize ?? 1);
  for (const { owner, name, quota } of quotas) {
    for (const resource of Object.keys(RESOURCE_WORDS) as (keyof Holdings)[]) {
      const limit = quota[resource];
      if (limit === undefined || needed[resource] <= limit) continue;
      const { field, text } = RESOURCE_WORDS[resource];
      return {
        field,
        message: `it needs ${text(needed[resource])}, the quota of ${ownerWords({ owner, name })} is ${text(limit)}`,
      };
    }
  }
  return undefined;
}
