import { isRefusal, type Refusal, refuse } from '../../shared/errors.js';
import { SPEC_LIMITS } from '../../shared/job-spec/spec.js';
import { parseRanges } from '../../shared/ranges.js';
import { dialectOf, placeOf, workFolder } from './plan-job.js';
import { batchScript, DIALECTS } from './script.js';
import { type Submission, type SubmitOptions, TASK_FILE } from './submission.js';
import type { HpcTarget } from './target.js';
import { identityOf, placesOf, type RemoteName, type TaskOf } from './task-identity.js';

/**
 * The submission of a batch script that the user wrote for the site itself.
 *
 * The script runs from a file, byte for byte as it is; its directives are those of the job. Account and partition of
 * the target stand in for directives that it lacks.
 */
export function planOwnScript(
  text: string,
  target: HpcTarget,
  name: RemoteName & { readonly of?: TaskOf },
): Submission | Refusal {
  if (!text.startsWith('#!')) {
    const shown = JSON.stringify(text.split('\n', 1)[0]?.slice(0, 60) ?? '');
    return refuse(
      'invalid-spec',
      `line 1: ${shown} is no interpreter; a batch script begins with a line like #!/bin/bash`,
    );
  }
  if (text.includes('\0'))
    return refuse('invalid-spec', 'the batch script has a NUL character, which no shell can read');
  if (text.startsWith('#!') && /^[^\n]*\r/.test(text)) {
    return refuse('invalid-spec', 'line 1: the batch script has Windows line ends; end its lines with LF alone');
  }
  const directives = directivesOf(text, target);
  const array = arrayOf(directives);
  if (isRefusal(array)) return array;
  const { tag, of } = name;
  const work = workFolder(target, tag);
  const script = batchScript({
    dialect: dialectOf(target),
    tag,
    work,
    directives,
    setup: '',
    env: {},
    identity: identityOf(name, target, of),
    secrets: placesOf(of?.step.secrets),
    workdir: null,
    inputs: 'in-place',
    links: [],
    program: text,
    command: `"$BERTH_WORKSPACE/${TASK_FILE}"`,
  });
  if (isRefusal(script)) return script;
  const { account, partition } = placeOf(target);
  return {
    tag,
    work,
    script,
    options: {
      ...array,
      ...(account === undefined || directives.some((line) => ACCOUNT.test(line)) ? {} : { account }),
      ...(partition === undefined || directives.some((line) => PARTITION.test(line)) ? {} : { partition }),
    },
  };
}

const ACCOUNT = /^(#SBATCH\s+(-A|--account)|#\$\s+-[PA])\b/;
const PARTITION = /^(#SBATCH\s+(-p|--partition)|#\$\s+-q)\b/;

const ARRAY = /^(?:#SBATCH\s+(?:-a\s*|--array[=\s]\s*)|#\$\s+-t\s+)([^\s%]+)(?:%(\d+))?/;

/** The indexes are needed here too: each task has its own output. */
function arrayOf(directives: readonly string[]): Pick<SubmitOptions, 'array' | 'maxParallel'> | Refusal {
  const [line, array, maxParallel] = directives.map((each) => ARRAY.exec(each)).find((match) => match !== null) ?? [];
  if (line === undefined || array === undefined) return {};
  const ranges = parseRanges(array, SPEC_LIMITS.maxTasksPerStep);
  if (typeof ranges === 'string') return refuse('invalid-spec', `${line}: ${ranges}`);
  return { array, ...(maxParallel === undefined ? {} : { maxParallel: Number(maxParallel) }) };
}

/** As the systems read them: before the first line that is neither empty nor a comment. */
function directivesOf(text: string, target: HpcTarget): string[] {
  const { directive } = DIALECTS[dialectOf(target)];
  const found: string[] = [];
  if (directive === undefined) return found;
  for (const line of text.split('\n').slice(1)) {
    if (line.trim() !== '' && !line.startsWith('#')) break;
    if (line.startsWith(`${directive} `) || line.startsWith(`${directive}\t`)) found.push(line);
  }
  return found;
}
