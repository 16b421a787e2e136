import { isRefusal, type Problem, type Refusal, refuse } from '../../../shared/errors.js';
import { type JobSpec, SPEC_DEFAULTS, type StepSpec } from '../../../shared/job-spec/spec.js';
import { planOwnScript } from '../own-script.js';
import { mapPath } from '../paths.js';
import { dialectOf, localPath, planJob } from '../plan-job.js';
import type { Submission } from '../submission.js';
import type { HpcTarget } from '../target.js';
import type { RemoteName } from '../task-identity.js';

/** Some tasks of one step, as one remote job. */
export interface Portion {
  readonly spec: JobSpec;
  readonly step: StepSpec;
  /** Task indexes in range notation. */
  readonly indexes: string;
  readonly name: RemoteName;
}

/** The submission for a part of a step; refuses what the target cannot be asked for. */
export function submissionOf({ spec, step, indexes, name }: Portion, target: HpcTarget): Submission | Refusal {
  const { run } = step;
  const isArray = step.array !== '0';
  if (run.kind === 'script' && /^#SBATCH\s/m.test(run.script)) {
    const unfit = beside(step, target);
    if (unfit) return unfit;
    return only(planOwnScript(run.script, target, { ...name, of: { spec, step } }), isArray ? indexes : undefined);
  }
  const { targets: _, prefer: __, deadlineMs: ___, ...own } = step;
  const alone = { ...own, needs: [] };
  // Holding a job and the order of jobs are this coordinator's own affair, and done with by now.
  const whole = planJob({ ...spec, hold: false, priority: SPEC_DEFAULTS.priority, steps: [alone] }, target, name);
  return only(whole, isArray ? indexes : undefined);
}

/** The submission of all of a step that has none yet. */
export function submissionToCome(part: Pick<Portion, 'spec' | 'step'>, target: HpcTarget): Submission | Refusal {
  return submissionOf({ ...part, indexes: part.step.array, name: { tag: TAG_TO_COME } }, target);
}

const TAG_TO_COME = 'berth-check';

/** The same for some of its tasks, which know of all of them nevertheless. */
function only(whole: Submission | Refusal, array: string | undefined): Submission | Refusal {
  return isRefusal(whole) || array === undefined ? whole : { ...whole, options: { ...whole.options, array } };
}

/** What goes with a script whose directives say it all. */
function beside(step: StepSpec, target: HpcTarget): Refusal | undefined {
  if (dialectOf(target) !== 'slurm' || target.backend === 'slurm-rest') {
    return refuse('unsupported-field', `hpc/${target.name} reads no #SBATCH lines; write #BERTH lines instead`);
  }
  const problems: Problem[] = [];
  const add = (field: string, isGiven: boolean): void => {
    if (isGiven)
      problems.push({ field, message: 'does not go with #SBATCH lines, which are left as they are; remove it' });
  };
  add('image', step.image !== null);
  add('env', Object.keys(step.env).length > 0);
  add('inputs', step.inputs !== undefined);
  add('workdir', step.workdir !== null);
  add('timeLimit', step.timeLimitMs !== null);
  const { cpuMillis, memoryMiB, diskMiB, gpus } = step.resources;
  const isUsual = cpuMillis === SPEC_DEFAULTS.cpuMillis && memoryMiB === SPEC_DEFAULTS.memoryMiB;
  add('resources', !isUsual || diskMiB > 0 || gpus !== null);
  const [first] = problems;
  return first && refuse('unsupported-field', `${first.field} ${first.message}`, { problems });
}

/** Inputs that cannot be brought there, by their sources. */
export function unreachableInputs(step: StepSpec, target: HpcTarget): Problem[] {
  return (step.inputs ?? []).flatMap((input, position) => {
    const { source } = input;
    if (source.kind !== 'url' || source.url.startsWith('berth://')) return [];
    const path = localPath(input);
    if (path !== undefined && mapPath(target.paths, path) !== undefined) return [];
    const known = target.paths.map(({ local }) => local).join(', ') || 'it has none';
    const message = `${source.url} cannot be brought to hpc/${target.name}: give an artifact, "content", or a file below a shared path (${known})`;
    return [{ field: `inputs[${position}]`, message }];
  });
}
