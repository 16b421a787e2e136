import { isRefusal, type Problem, type Refusal, refuse } from '../../../shared/errors.js';
import type { JobSpec, StepSpec } from '../../../shared/job-spec/spec.js';
import { didYouMean } from '../../../shared/suggest.js';
import type { TargetSpec } from '../read-targets.js';
import type { HpcTarget } from '../target.js';
import { submissionOf, unreachableInputs } from './submission-of.js';

export interface KnownTargets {
  readonly targets: readonly TargetSpec[];
  readonly hasSecret: (namespace: string, name: string) => boolean;
}

/** Stands for a tag, which a job gets once it is accepted. */
const TAG_TO_COME = 'berth-check';

/** Why some step's target cannot be asked for it; undefined when all can, or there is no such step. */
export function refuseTargets(spec: JobSpec, known: KnownTargets): Refusal | undefined {
  for (const [position, step] of spec.steps.entries()) {
    const refusal = step.target === undefined ? undefined : refuseStep({ spec, step, position }, known);
    if (refusal) return refusal;
  }
  return undefined;
}

interface Place {
  readonly spec: JobSpec;
  readonly step: StepSpec;
  readonly position: number;
}

function refuseStep({ spec, step, position }: Place, { targets, hasSecret }: KnownTargets): Refusal | undefined {
  const target = targets.find((each) => `hpc/${each.target.name}` === step.target)?.target;
  const field = `steps[${position}].target`;
  if (!target) {
    const names = targets.map((each) => `hpc/${each.target.name}`);
    const message = `there is no target "${step.target}"${didYouMean(step.target ?? '', names)}`;
    const hint = names.length === 0 ? 'start the coordinator with --targets FILE' : `there are: ${names.join(', ')}`;
    return refuse('invalid-spec', message, { hint, problems: [{ field, message }] });
  }
  const missing = secretsOf(target).find((name) => !hasSecret(spec.namespace, name));
  if (missing !== undefined) {
    const message = `${step.target} needs the secret "${missing}", which namespace ${spec.namespace} does not have`;
    const hint = `set it with: berth secrets set ${missing} --namespace ${spec.namespace}`;
    return refuse('invalid-spec', message, { hint, problems: [{ field, message }] });
  }
  const problems: readonly Problem[] = unreachableInputs(step, target);
  const [first] = problems;
  if (first) return refuse('unsupported-field', first.message, { problems });
  const submission = submissionOf({ spec, step, indexes: step.array, name: { tag: TAG_TO_COME } }, target);
  return isRefusal(submission) ? submission : undefined;
}

function secretsOf({ credential, credentialCommand, ssh }: HpcTarget): string[] {
  const own = credentialCommand === null ? credential : null;
  return [own, ssh?.credential ?? null].filter((name) => name !== null);
}
