import { type Problem, type Refusal, refuse } from '../../shared/errors.js';
import type { JobSpec } from '../../shared/job-spec/spec.js';
import { secretKey } from '../../shared/secrets.js';
import { didYouMean } from '../../shared/suggest.js';

/** Refuses a job that names a secret which its namespace does not have. One that is removed later makes tasks wait. */
export function refuseUnknownSecrets(spec: JobSpec, secretKeys: ReadonlySet<string>): Refusal | undefined {
  const problems: Problem[] = [];
  for (const [step, { secrets = [] }] of spec.steps.entries()) {
    for (const [position, { name }] of secrets.entries()) {
      if (secretKeys.has(secretKey(spec.namespace, name))) continue;
      const message = `there is no secret "${name}" in namespace ${spec.namespace}${near(name, spec, secretKeys)}`;
      problems.push({ field: `steps[${step}].secrets[${position}].name`, message });
    }
  }
  const [first] = problems;
  if (first === undefined) return undefined;
  return refuse('invalid-spec', first.message, {
    hint: `set it with: berth secrets set NAME --namespace ${spec.namespace}`,
    problems,
  });
}

function near(name: string, { namespace }: JobSpec, secretKeys: ReadonlySet<string>): string {
  const prefix = secretKey(namespace, '');
  const own = [...secretKeys].filter((key) => key.startsWith(prefix));
  return didYouMean(
    name,
    own.map((key) => key.slice(prefix.length)),
  );
}
