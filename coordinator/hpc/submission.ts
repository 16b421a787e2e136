/** What a backend is told to submit: the batch script's place, and what the system must know of it. */
export interface Submission {
  readonly tag: string;
  /** Absolute path of the job's work directory. */
  readonly work: string;
  /** The batch script, which lies in the work directory as SCRIPT_FILE. */
  readonly script: string;
  readonly options: SubmitOptions;
}

/** Absent fields are left to the site, or to the directives of the user's own script. */
export interface SubmitOptions {
  readonly account?: string;
  readonly partition?: string;
  readonly cpus?: number;
  readonly memoryMiB?: number;
  readonly diskMiB?: number;
  readonly gpus?: { readonly count: number; readonly model: string | null };
  readonly licences?: Readonly<Record<string, number>>;
  readonly isExclusive?: true;
  readonly timeLimitMs?: number;
  /** Task indexes in range notation. */
  readonly array?: string;
  readonly maxParallel?: number;
  /** Whether the site may start it again; absent: as the site has it. */
  readonly mayRequeue?: 'yes' | 'no';
}

/** Names within a work directory. */
export const SCRIPT_FILE = 'job.sh';
/**
 * What the system itself says of the job, or of one task of an array.
 *
 * @param index  of the task, or the system's word for it; null for a job that is no array
 */
export function systemLog(index: number | '%a' | null): string {
  return index === null ? 'scheduler.log' : `scheduler.${index}.log`;
}
/** Inputs that every task of an array copies. */
export const INPUTS_FOLDER = 'in';
/** A workspace for each task, by index. */
export const WORKSPACES_FOLDER = 'files';
/** A script of the user's, in the workspace; no pattern without a dot takes it for an output. */
export const TASK_FILE = '.berth-task';
/** See secret-files.ts. */
export const SECRETS_FOLDER = 'secrets';
export const SECRETS_FILES_FOLDER = `${SECRETS_FOLDER}/files`;
export const SECRETS_ENV_FILE = `${SECRETS_FOLDER}/env.sh`;
/** See marks.ts. */
export const MARKS_FOLDER = 'marks';
/** The id of what was submitted, written under the lock of `submit`. */
export const SUBMITTED_FILE = 'submitted';

/** @param index  of a task, or the shell's word for it */
export function outputFile(index: number | '$index', stream: 'out' | 'err'): string {
  return `${stream}.${index}`;
}

/** Tags are job names on systems that allow little in them. */
export const TAG = /^[A-Za-z][A-Za-z0-9._-]{0,63}$/;
