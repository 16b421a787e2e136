import { isRefusal, type Problem, type Refusal, refuse } from '../../../shared/errors.js';
import type { JobSpec, StepSpec, TargetName } from '../../../shared/job-spec/spec.js';
import { didYouMean } from '../../../shared/suggest.js';
import { isTarget } from '../../model/mirror.js';
import type { TargetSpec } from '../read-targets.js';
import { secretNamesOf } from '../target.js';
import { submissionToCome, unreachableInputs } from './submission-of.js';

export interface KnownTargets {
  readonly targets: readonly TargetSpec[];
  readonly hasSecret: (namespace: string, name: string) => boolean;
}

/** Why some step's remote target cannot be asked for it; undefined when all can, or there is none. */
export function refuseTargets(spec: JobSpec, known: KnownTargets): Refusal | undefined {
  for (const request of requestsOf(spec)) {
    const refusal = refuseRequest(request, known);
    if (refusal) return refusal;
  }
  return undefined;
}

/** A step with one of the remote targets that it names. */
export interface TargetRequest {
  readonly spec: JobSpec;
  readonly step: StepSpec;
  readonly name: TargetName;
  /** As problems name it. */
  readonly field: string;
}

export function requestsOf(spec: JobSpec): TargetRequest[] {
  return spec.steps.flatMap((step, position) =>
    (step.targets ?? []).flatMap((name, choice) =>
      isTarget(name) ? [{ spec, step, name, field: `steps[${position}].targets[${choice}]` }] : [],
    ),
  );
}

function refuseRequest(
  { spec, step, name, field }: TargetRequest,
  { targets, hasSecret }: KnownTargets,
): Refusal | undefined {
  const target = targets.find((each) => `hpc/${each.target.name}` === name)?.target;
  if (!target) {
    const names = targets.map((each) => `hpc/${each.target.name}`);
    const message = `there is no target "${name}"${didYouMean(name, names)}`;
    const hint = names.length === 0 ? 'start the coordinator with --targets FILE' : `there are: ${names.join(', ')}`;
    return refuse('invalid-spec', message, { hint, problems: [{ field, message }] });
  }
  const missing = secretNamesOf(target).find((secret) => !hasSecret(spec.namespace, secret));
  if (missing !== undefined) {
    const message = `${name} needs the secret "${missing}", which namespace ${spec.namespace} does not have`;
    const hint = `set it with: berth secrets set ${missing} --namespace ${spec.namespace}`;
    return refuse('invalid-spec', message, { hint, problems: [{ field, message }] });
  }
  const problems: readonly Problem[] = unreachableInputs(step, target);
  const [first] = problems;
  if (first) return refuse('unsupported-field', first.message, { problems });
  const submission = submissionToCome({ spec, step }, target);
  return isRefusal(submission) ? submission : undefined;
}
