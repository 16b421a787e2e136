import type { EpochMs } from '../../../shared/clock.js';
import { isRefusal, type Refusal } from '../../../shared/errors.js';
import { grantsOf, type SecretSource } from '../../engine/grants.js';
import type { Allocation } from '../../model/allocation.js';
import type { HpcTarget } from '../target.js';
import { type Group, indexesOfGroup, remoteIndexOf } from './grouping.js';
import { type Member, mirrorFrom, type RemoteWork, stopMember } from './remote-work.js';
import { submissionOf } from './submission-of.js';

export interface WorkParts {
  readonly target: HpcTarget;
  readonly secrets: SecretSource;
  readonly now: EpochMs;
  /** It may have been submitted, by a coordinator that died. */
  readonly wasThere: boolean;
}

/** The remote job of attempts that have a tag, as it is to be begun or taken up again. */
export function workOf(
  { job, step, inputs, allocations }: Group,
  tag: string,
  { target, secrets, now, wasThere }: WorkParts,
): RemoteWork | Refusal {
  const [first] = allocations;
  const { attempt = 1 } = first?.ref ?? {};
  const name = { tag, jobId: job.id, attempt, indexOffset: first?.mirror?.indexOffset ?? 0 };
  const portion = { spec: job.spec, step: step.spec, indexes: indexesOfGroup(allocations), name };
  const submission = submissionOf(portion, target);
  if (isRefusal(submission)) return submission;
  const remoteId = first?.mirror?.remoteId ?? null;
  const work: RemoteWork = {
    submission,
    inputs,
    secrets: () => grantsOf(secrets, job.spec.namespace, step.spec).secrets ?? [],
    outputs: step.spec.outputs ?? [],
    logLimitMiB: step.spec.logLimitMiB,
    members: new Map(allocations.map((allocation) => [remoteIndexOf(allocation), memberOf(allocation)])),
    mirror: mirrorFrom(tag, { now, wasThere, remoteId, periodMs: target.period.minMs }),
    hasFailed: false,
  };
  for (const allocation of allocations) {
    const { phase } = allocation;
    const member = work.members.get(remoteIndexOf(allocation));
    if (member && phase.kind === 'stopping') stopMember(work, member, { reason: phase.reason, now });
  }
  return work;
}

function memberOf(allocation: Allocation): Member {
  const { id, startedAt, mirror } = allocation;
  return {
    index: remoteIndexOf(allocation),
    allocationId: id,
    stopReason: null,
    cancelAt: 0,
    startedAt: startedAt ?? null,
    isFinishing: false,
    nodes: mirror?.nodes ?? '',
    requeueCount: mirror?.requeueCount ?? 0,
    kept: {},
  };
}
