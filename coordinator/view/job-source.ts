import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { type Command, Option } from 'commander';
import { AppError, type Refusal } from '../../shared/errors.js';
import { RUN_FLAGS, type RunFlagValues, specInputFromFlags } from '../../shared/job-spec/flags.js';
import type { JobSpec } from '../../shared/job-spec/spec.js';
import type { Context } from './context.js';

export const FILE_HELP = 'a job file (YAML or JSON) or a script with #BERTH or #SBATCH lines; - for standard input';

/** The flags that say what a job is. */
export type JobFlags = RunFlagValues;

export function addSpecFlags(command: Command): void {
  command.optionsGroup('Job:');
  for (const { flag, short, value, repeatable, help } of RUN_FLAGS) {
    const names = short === undefined ? flag : `${short}, ${flag}`;
    const option = new Option(value === null ? names : `${names} <${value}>`, help);
    if (repeatable) option.argParser<string[]>((text, before) => [...(before ?? []), text]);
    command.addOption(option);
  }
}

export interface SpecSource {
  readonly file: string | undefined;
  readonly flags: JobFlags;
  readonly trailing: readonly string[] | undefined;
}

/** The job of a command's file, standard input or words after `--`, checked as the coordinator will. */
export async function readSpec(context: Context, { file, flags, trailing }: SpecSource): Promise<JobSpec | Refusal> {
  const values = runFlagValues(flags);
  if (file === undefined) {
    if (trailing === undefined || trailing.length === 0) throw nothingToRun();
    const { parseJobSpec } = await import('../../shared/job-spec/parse.js');
    return parseJobSpec(specInputFromFlags({ ...values, command: trailing }));
  }
  const text = file === '-' ? await context.readInput() : await readJobFile(file);
  const { parseJobText } = await import('../../shared/job-spec/text.js');
  return parseJobText(text, {
    ...(file === '-' ? {} : { fileName: basename(file) }),
    flags: trailing === undefined ? values : { ...values, args: trailing },
  });
}

function nothingToRun(): AppError {
  return new AppError('invalid-request', 'there is nothing to run', {
    hint: 'write berth run -- COMMAND, or berth run FILE',
  });
}

async function readJobFile(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    if (isMissing) throw needsDashes(path);
    throw new AppError('invalid-request', `cannot read the job file: ${(error as Error).message}`, { cause: error });
  }
}

/** Words that are no file are most likely a command. */
export function needsDashes(words: string): AppError {
  return new AppError('invalid-request', `there is no job file "${words}"`, {
    hint: `to run a command, put -- before it: berth run -- ${words}`,
  });
}

/** The flags of the specification, without those of the client itself. */
function runFlagValues(flags: JobFlags): RunFlagValues {
  return Object.fromEntries(RUN_FLAGS.flatMap(({ key }) => (flags[key] === undefined ? [] : [[key, flags[key]]])));
}
