import { formatMiB, MIB } from '../units.js';
import type { RunFlagValues } from './flags.js';

/** What a Slurm option means here: flags of `berth run`, or why it cannot be honoured. */
export type SbatchMeaning =
  | { readonly kind: 'flags'; readonly values: RunFlagValues }
  /** Known once the processors are: memory for each of them. */
  | { readonly kind: 'memory-per-cpu'; readonly mebibytes: number }
  | { readonly kind: 'invalid'; readonly message: string }
  | { readonly kind: 'unsupported'; readonly message: string };

interface SbatchOption {
  readonly short?: string;
  readonly takesValue: boolean;
  readonly read: (value: string) => SbatchMeaning;
}

/** Source: sbatch(1) of Slurm 22.05. Options that are not here are refused by name, never ignored. */
const OPTIONS: Readonly<Record<string, SbatchOption>> = {
  '--job-name': valued((name) => flags({ name }), '-J'),
  '--cpus-per-task': valued((cpus) => flags({ cpus }), '-c'),
  '--mem': valued((size) => memory(size, (mebibytes) => flags({ memory: formatMiB(mebibytes) }))),
  '--mem-per-cpu': valued((size) => memory(size, (mebibytes) => ({ kind: 'memory-per-cpu', mebibytes }))),
  '--time': valued(readTime, '-t'),
  '--array': valued(readArray, '-a'),
  '--licenses': valued(readLicenses, '-L'),
  '--gres': valued(readGres),
  '--gpus': valued(readGpus, '-G'),
  '--gpus-per-task': valued(readGpus),
  '--gpus-per-node': valued(readGpus),
  '--export': valued(readExport),
  '--chdir': valued((workdir) => flags({ workdir }), '-D'),
  '--ntasks': valued(onlyOne('--ntasks'), '-n'),
  '--ntasks-per-node': valued(onlyOne('--ntasks-per-node')),
  '--nodes': valued(onlyOne('--nodes'), '-N'),
  '--hold': { short: '-H', takesValue: false, read: () => flags({ hold: true }) },
  '--requeue': { takesValue: false, read: () => flags({}) },
  '--no-requeue': { takesValue: false, read: () => flags({ retry: '1' }) },
  '--partition': refused('select nodes with "#BERTH --constraint", or remove the line', '-p'),
  '--constraint': refused("write \"#BERTH --constraint 'label:NAME=VALUE'\" with this cluster's labels", '-C'),
  '--output': refused('Berth keeps the output of every task, see "berth logs"; remove the line', '-o'),
  '--error': refused('Berth keeps the output of every task, see "berth logs"; remove the line', '-e'),
  '--dependency': refused('write a job with steps and "needs"', '-d'),
  '--account': refused('remove the line, or say it with "#BERTH --label"', '-A'),
  '--exclusive': { takesValue: false, read: () => flags({ exclusive: true }) },
};

export const SBATCH_OPTION_NAMES: readonly string[] = Object.keys(OPTIONS);

/** Whether the option takes a value; undefined for one that is not known. */
export function sbatchTakesValue(name: string): boolean | undefined {
  return optionNamed(name)?.takesValue;
}

export function sbatchMeaning(name: string, value: string): SbatchMeaning | undefined {
  return optionNamed(name)?.read(value);
}

function optionNamed(name: string): SbatchOption | undefined {
  if (name.startsWith('--')) return Object.hasOwn(OPTIONS, name) ? OPTIONS[name] : undefined;
  return Object.values(OPTIONS).find((option) => option.short === name);
}

function valued(read: SbatchOption['read'], short?: string): SbatchOption {
  return { ...(short === undefined ? {} : { short }), takesValue: true, read };
}

function refused(remedy: string, short?: string): SbatchOption {
  return valued(() => ({ kind: 'unsupported', message: `is not supported by this version; ${remedy}` }), short);
}

function flags(values: RunFlagValues): SbatchMeaning {
  return { kind: 'flags', values };
}

function invalid(message: string): SbatchMeaning {
  return { kind: 'invalid', message };
}

function unsupported(what: string, remedy: string): SbatchMeaning {
  return { kind: 'unsupported', message: `${what} is not supported by this version; ${remedy}` };
}

function onlyOne(name: string): SbatchOption['read'] {
  return (value) => {
    if (/^0*1(-0*1)?$/.test(value)) return flags({});
    return unsupported(`${name}=${value}`, 'a task has one node; use --array for independent tasks');
  };
}

const SLURM_SIZE = /^(\d{1,12})(?:([KMGT])B?)?$/i;
const SLURM_SIZE_UNITS: Readonly<Record<string, number>> = { K: 1024, M: MIB, G: 1024 ** 3, T: 1024 ** 4 };

/** Slurm counts in MiB where no unit is given. */
function memory(size: string, then: (mebibytes: number) => SbatchMeaning): SbatchMeaning {
  const match = SLURM_SIZE.exec(size);
  if (!match) return invalid(`"${size}" is not a size; Slurm's are 4096 (MiB), 4096M, 4G`);
  const count = Number(match[1]);
  if (count === 0) return unsupported('all memory of a node (0)', 'write how much a task needs');
  return then(Math.ceil((count * (SLURM_SIZE_UNITS[(match[2] ?? 'M').toUpperCase()] ?? MIB)) / MIB));
}

const NO_TIME_LIMIT = /^(0+|unlimited|infinite|-1)$/i;

/** `minutes`, `minutes:seconds`, `hours:minutes:seconds`, `days-hours[:minutes[:seconds]]`. */
function readTime(value: string): SbatchMeaning {
  if (NO_TIME_LIMIT.test(value)) return flags({});
  const match = /^(?:(\d{1,6})-)?(\d{1,8})(?::(\d{1,8}))?(?::(\d{1,8}))?$/.exec(value);
  if (!match) return invalid(`"${value}" is not a time; Slurm's are 90 (minutes), 90:30, 1:30:00, 1-12, 1-12:30`);
  const parts = match.slice(2).flatMap((part) => (part === undefined ? [] : [Number(part)]));
  const [first = 0, second = 0, third = 0] = parts;
  const days = match[1] === undefined ? undefined : Number(match[1]);
  const isHoursFirst = days !== undefined || parts.length === 3;
  const seconds = isHoursFirst ? first * 3_600 + second * 60 + third : first * 60 + second;
  return flags({ timeLimit: `${(days ?? 0) * 86_400 + seconds}s` });
}

function readArray(value: string): SbatchMeaning {
  const [array = '', maxParallel] = value.split('%');
  return flags(maxParallel === undefined ? { array } : { array, maxParallel });
}

/** `matlab:2,fluent`: a count of 1 where none is given. */
function readLicenses(value: string): SbatchMeaning {
  const licence = value.split(',').map((entry) => (entry.includes(':') ? entry.replace(':', '=') : `${entry}=1`));
  return flags({ licence });
}

function readGres(value: string): SbatchMeaning {
  const match = /^(?:gres[:/])?gpu(?::([^:,]*[^:,\d][^:,]*))?(?::(\d+))?$/i.exec(value);
  if (match) return gpus(match[2] ?? '1', match[1]);
  return unsupported(`--gres=${value}`, 'only gpu[:MODEL][:COUNT] can be asked for');
}

function readGpus(value: string): SbatchMeaning {
  const match = /^(?:([^:,]+):)?(\d+)$/.exec(value);
  return match ? gpus(match[2] ?? '1', match[1]) : invalid(`"${value}" is not a number of GPUs; write 2 or a100:2`);
}

function gpus(count: string, model: string | undefined): SbatchMeaning {
  return flags({ gpus: model === undefined ? count : `${count}:${model}` });
}

/** Berth never copies the submitter's environment, so NONE is what happens and ALL cannot be honoured. */
function readExport(value: string): SbatchMeaning {
  const entries = value.split(',').filter((entry) => entry !== 'NONE');
  const wrong = entries.find((entry) => !entry.includes('='));
  if (wrong === undefined) return flags(entries.length === 0 ? {} : { env: entries });
  return unsupported(
    `--export=${wrong}`,
    'your environment is not copied; write --export=NAME=VALUE for each variable',
  );
}

/** Variables that Slurm sets in a job, and what Berth sets instead. */
const VARIABLES: Readonly<Record<string, string>> = {
  SLURM_ARRAY_TASK_ID: 'BERTH_TASK_INDEX',
  SLURM_ARRAY_TASK_COUNT: 'BERTH_TASK_COUNT',
  SLURM_ARRAY_JOB_ID: 'BERTH_JOB_ID',
  SLURM_JOB_ID: 'BERTH_JOB_ID',
  SLURM_JOBID: 'BERTH_JOB_ID',
  SLURM_JOB_NAME: 'BERTH_JOB_NAME',
  SLURM_CPUS_PER_TASK: 'BERTH_CPUS',
  SLURM_MEM_PER_NODE: 'BERTH_MEMORY_MIB',
  SLURM_RESTART_COUNT: 'BERTH_ATTEMPT',
  SLURMD_NODENAME: 'BERTH_NODE',
};

/** A use without a default (`${X:-1}`), which would silently be empty. */
const VARIABLE_USE = /\$(?:\{(SLURMD?_[A-Z0-9_]+)(?!:?[-=+?])\b|(SLURMD?_[A-Z0-9_]+))/g;

export interface VariableUse {
  readonly line: number;
  readonly message: string;
}

/** Uses of Slurm's variables, which no task of Berth has; each name once. */
export function slurmVariables(script: string, setByJob: ReadonlySet<string>): readonly VariableUse[] {
  const seen = new Set(setByJob);
  const uses: VariableUse[] = [];
  for (const [position, line] of script.split('\n').entries()) {
    if (line.trimStart().startsWith('#')) continue;
    for (const match of line.matchAll(VARIABLE_USE)) {
      const name = match[1] ?? match[2] ?? '';
      if (seen.has(name)) continue;
      seen.add(name);
      const instead = VARIABLES[name];
      const remedy = instead === undefined ? `remove it, or give it a default: \${${name}:-}` : `use ${instead}`;
      uses.push({ line: position + 1, message: `$${name} is not set by Berth; ${remedy}` });
    }
  }
  return uses;
}
