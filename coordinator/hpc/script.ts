import { type Refusal, refuse } from '../../shared/errors.js';
import { SYSTEM_FAILURE_EXIT } from '../../shared/outcome.js';
import { quote } from './quote.js';
import { HPC_LIMITS } from './remote-job.js';
import {
  INPUTS_FOLDER,
  MARKS_FOLDER,
  outputFile,
  SECRETS_ENV_FILE,
  SECRETS_FILES_FOLDER,
  TASK_FILE,
  WORKSPACES_FOLDER,
} from './submission.js';
import type { SecretPlaces, TaskIdentity } from './task-identity.js';

/** How the systems tell a job who it is, and what their directives begin with. */
export const DIALECTS = {
  slurm: {
    directive: '#SBATCH',
    indexVariable: 'SLURM_ARRAY_TASK_ID',
    id: `\${SLURM_ARRAY_JOB_ID:-\${SLURM_JOB_ID:-}}`,
    index: `\${SLURM_ARRAY_TASK_ID:-0}`,
  },
  // Grid Engine says "undefined" to a job that is no array.
  sge: {
    directive: '#$',
    indexVariable: 'SGE_TASK_ID',
    id: `\${JOB_ID:-}`,
    index: `$(case "\${SGE_TASK_ID:-}" in ""|undefined) echo 0;; *) echo "$SGE_TASK_ID";; esac)`,
  },
  plain: {
    directive: undefined,
    indexVariable: undefined,
    id: `\${BERTH_REMOTE_ID:-$$}`,
    index: `\${BERTH_TASK_INDEX:-0}`,
  },
} as const;
export type Dialect = keyof typeof DIALECTS;

export interface BatchScript {
  readonly dialect: Dialect;
  readonly tag: string;
  readonly work: string;
  /** Lines for the head, verbatim: directives of the user's own script. */
  readonly directives: readonly string[];
  /** Commands of the site, such as `module load apptainer`. */
  readonly setup: string;
  readonly env: Readonly<Record<string, string>>;
  readonly identity: TaskIdentity;
  readonly secrets: SecretPlaces;
  /** Where the command starts; null for a workspace of the task's own. */
  readonly workdir: string | null;
  /** Whether the inputs are copied into each task's workspace, or lie in the only one already. */
  readonly inputs: 'copied' | 'in-place';
  /** Files that the remote side has already, by their place in the workspace. */
  readonly links: readonly { readonly to: string; readonly remote: string }[];
  /** The text of a program to be written to TASK_FILE in the workspace; null when there is none. */
  readonly program: string | null;
  /** The shell command that runs the task. */
  readonly command: string;
}

/**
 * The batch script of a job: it looks after itself, so that nothing that happens to whoever submitted it matters.
 *
 * - Of all jobs with its work directory exactly one runs a task: whose id is the target of the link `INDEX.owner`. A
 *   submission that was sent twice by mistake ends at that line, a requeued job goes on.
 * - Output goes to files of its own, whatever the system's rules for names are.
 * - It leaves its exit status in its work directory, where it is found when the system has forgotten the job.
 *
 * Written for a POSIX shell. Values are quoted, never expanded; nothing of the environment is in any argument. Secrets
 * are not here: it reads them from the work directory, last of all, so that only the task's own command has them.
 */
export function batchScript(script: BatchScript): string | Refusal {
  const { id, index } = DIALECTS[script.dialect];
  const text = `#!/bin/sh
${script.directives.map((line) => `${line}\n`).join('')}# Written by Berth for ${script.tag}.
work=${quote(script.work)}
id=${id}
index=${index}
marks=$work/${MARKS_FOLDER}
mkdir -p "$marks" "$work/${WORKSPACES_FOLDER}/$index" || exit ${SYSTEM_FAILURE_EXIT}
if ! ln -s "$id" "$marks/$index.owner" 2>/dev/null && [ "$(readlink "$marks/$index.owner")" != "$id" ]; then
  echo "task $index of ${script.tag} is run by job $(readlink "$marks/$index.owner"); this one ends" >&2
  exit ${SYSTEM_FAILURE_EXIT}
fi
rm -f "$marks/$index.ended."*
: >"$marks/$index.started.$id"
exec >>"$work/${outputFile('$index', 'out')}" 2>>"$work/${outputFile('$index', 'err')}" </dev/null
finish() {
  : >"$marks/$index.ended.$1"
  exit "$1"
}
${workspace(script)}
${variables(script)}
${script.setup === '' ? '' : `${script.setup}\n`}${program(script.program)}${secrets(script.secrets)}# The shell outlives a signal that is meant for the task, to say how that ended.
trap : TERM INT HUP XCPU USR1 USR2
${script.command}
finish "$?"
`;
  const byteCount = new TextEncoder().encode(text).length;
  if (byteCount <= HPC_LIMITS.maxScriptBytes) return text;
  const detail = `the batch script has ${byteCount} bytes; a system takes ${HPC_LIMITS.maxScriptBytes} at most: put what is large into "inputs"`;
  return refuse('payload-too-large', detail);
}

/** Beside these, everything goes by the indexes of the site. */
function variables({ dialect, env, identity }: BatchScript): string {
  const { taskPrefix, attempt, indexOffset } = identity;
  const { indexVariable } = DIALECTS[dialect];
  const constant = Object.entries({ ...env, ...identity.env }).map(([name, value]) => `export ${name}=${quote(value)}`);
  return [
    ...constant,
    indexOffset === 0 ? 'task=$index' : `task=$((index + ${indexOffset}))`,
    ...(indexOffset === 0 || indexVariable === undefined ? [] : [`export ${indexVariable}="$task"`]),
    'export BERTH_HPC_JOB="$id" BERTH_TASK_INDEX="$task"',
    `export BERTH_TASK_ID=${quote(taskPrefix)}"$task" BERTH_ALLOCATION_ID=${quote(taskPrefix)}"$task"${quote(`#${attempt}`)}`,
  ].join('\n');
}

function secrets({ hasFiles, hasVariables }: SecretPlaces): string {
  const file = `"$work/${SECRETS_ENV_FILE}"`;
  return [
    ...(hasFiles ? [`export BERTH_SECRETS_DIR="$work/${SECRETS_FILES_FOLDER}"\n`] : []),
    // A shell ends at once when it is to read a file that is not there.
    ...(hasVariables ? [`[ -r ${file} ] && . ${file} || finish ${SYSTEM_FAILURE_EXIT}\n`] : []),
  ].join('');
}

function workspace({ workdir, inputs, links }: BatchScript): string {
  const lines = [
    `export BERTH_WORKSPACE="$work/${WORKSPACES_FOLDER}/$index"`,
    `cd "$BERTH_WORKSPACE" || finish ${SYSTEM_FAILURE_EXIT}`,
  ];
  if (inputs === 'copied') {
    lines.push(`cp -R "$work/${INPUTS_FOLDER}/." . || finish ${SYSTEM_FAILURE_EXIT}`);
  }
  for (const { to, remote } of links) {
    const folder = to.includes('/') ? `mkdir -p ${quote(to.slice(0, to.lastIndexOf('/')))} && ` : '';
    lines.push(`${folder}ln -sfn ${quote(remote)} ${quote(to)} || finish ${SYSTEM_FAILURE_EXIT}`);
  }
  if (workdir !== null) lines.push(`cd ${quote(workdir)} || finish ${SYSTEM_FAILURE_EXIT}`);
  return lines.join('\n');
}

function program(text: string | null): string {
  if (text === null) return '';
  const file = `"$BERTH_WORKSPACE/${TASK_FILE}"`;
  return `printf %s ${quote(text)} >${file} && chmod 700 ${file} || finish ${SYSTEM_FAILURE_EXIT}\n`;
}
