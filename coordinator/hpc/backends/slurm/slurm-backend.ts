import { type HpcBackend, HpcError, type HpcSite } from '../../backend.js';
import { quote, quoteArgv } from '../../quote.js';
import type { RemoteJob } from '../../remote-job.js';
import { mustRun, type RemoteShell } from '../../shell/remote-shell.js';
import { shellFiles } from '../../shell/shell-files.js';
import { submitOnceScript } from '../../shell/submit-once.js';
import { SCRIPT_FILE, type Submission } from '../../submission.js';
import type { HpcTarget } from '../../target.js';
import { checkPartition, checkRoot } from '../site-check.js';
import { endedOf, pick } from '../task-rows.js';
import { sbatchOptions, slurmLog } from './sbatch-options.js';
import { explainSlurm } from './slurm-errors.js';
import { IN_SECONDS, slurmOutlook } from './slurm-outlook.js';
import { ACCOUNTING_FORMAT, QUEUE_FORMAT, readAccounting, readQueue } from './slurm-tables.js';

/** Accounting is asked for nothing older: sacct looks at one day only unless it is told. */
const ACCOUNTING_SINCE = 'now-60days';

/** Slurm by its command-line tools, wherever the shell is. `submit` is idempotent by the tag. */
export function slurmBackend(shell: RemoteShell, target: Pick<HpcTarget, 'partition' | 'stagingRoot'>): HpcBackend {
  const run = (script: string, signal: AbortSignal): Promise<string> =>
    mustRun(shell, script, { signal, explain: explainSlurm });
  const queue = async (signal: AbortSignal): Promise<Map<string, RemoteJob>> => readQueue(await run(QUEUE, signal));
  return {
    files: shellFiles(shell),
    outlook: slurmOutlook(shell),
    accounting: {
      endedOf: async (ids, signal) =>
        ids.length === 0 ? new Map() : endedOf(await account(shell, `--jobs=${quote(ids.join(','))}`, signal), ids),
    },
    check: (signal) => checkSite(shell, target, signal),
    submit: async (submission, signal) => {
      const lookup = `${quoteArgv([...SQUEUE, `--name=${submission.tag}`])} --format=%A`;
      const script = submitOnceScript({ submission, lookup, submit: sbatch(submission) });
      return readId(await run(script, signal));
    },
    find: async (tag, signal) => {
      const queued = [...(await queue(signal)).values()].filter((job) => job.tag === tag);
      if (queued.length > 0) return queued;
      return [...(await account(shell, `--name=${quote(tag)}`, signal)).values()];
    },
    statusOf: async (ids, signal) => pick(await queue(signal), ids),
    cancel: async (id, signal) => {
      const result = await shell.run(quoteArgv(['scancel', id]), signal);
      if (result.exitCode !== 0 && explainSlurm(result).kind !== 'unknown-job') throw explainSlurm(result);
    },
    close: () => shell.close(),
  };
}

/** All jobs of the account in one answer, with a row for each task of an array. */
const SQUEUE = ['squeue', '--me', '--states=all', '--noheader'];
const QUEUE = `${IN_SECONDS} ${quoteArgv([...SQUEUE, '--array', `--Format=${QUEUE_FORMAT}`])}`;

/** Indexes of an array are otherwise cut short at 64 bytes. */
const ALL_INDEXES = 'SLURM_BITSTR_LEN=0';
const SACCT = `${IN_SECONDS} ${ALL_INDEXES} sacct --noheader --parsable2 --allocations --duplicates --starttime=${ACCOUNTING_SINCE} --format=${ACCOUNTING_FORMAT}`;

/** A site without accounting answers with an error, which is as good as knowing nothing. */
async function account(shell: RemoteShell, which: string, signal: AbortSignal): Promise<Map<string, RemoteJob>> {
  const result = await shell.run(`${SACCT} ${which}`, signal);
  if (result.exitCode === 0) return readAccounting(result.stdout);
  if (hasNoAccounting(result)) return new Map();
  throw explainSlurm(result);
}

function hasNoAccounting({ stderr }: { readonly stderr: string }): boolean {
  return /accounting storage is disabled|not found|only supported with/i.test(stderr);
}

async function checkSite(
  shell: RemoteShell,
  target: Pick<HpcTarget, 'partition' | 'stagingRoot'>,
  signal: AbortSignal,
): Promise<HpcSite> {
  const script = `sinfo --version && sinfo --noheader --format=%R && squeue --me --noheader >/dev/null`;
  const text = await mustRun(shell, script, { signal, explain: explainSlurm });
  const [system = '', ...names] = text.split('\n').filter((line) => line !== '');
  const partitions = [...new Set(names)];
  checkPartition(target, partitions);
  await checkRoot(shell, target, signal);
  const accounting = await shell.run('sacct --noheader --allocations --jobs=1', signal);
  const config = await shell.run('scontrol show config', signal);
  const size = /^MaxArraySize\s*=\s*(\d+)/m.exec(config.stdout)?.[1];
  return {
    system,
    partitions,
    hasAccounting: accounting.exitCode === 0,
    maxArraySize: size === undefined ? null : Number(size),
  };
}

/** The arguments of sbatch, which is called in the work directory. They win over directives in the script. */
function sbatch({ tag, work, options }: Submission): string[] {
  return [
    'sbatch',
    '--parsable',
    `--job-name=${tag}`,
    `--chdir=${work}`,
    `--output=${work}/${slurmLog(options)}`,
    '--open-mode=append',
    ...sbatchOptions(options),
    SCRIPT_FILE,
  ];
}

/** `4711`, and with several clusters `4711;north`. */
function readId(text: string): string {
  const id = /^(\d+)/.exec(text.trim())?.[1];
  if (id === undefined)
    throw new HpcError('configuration', `sbatch printed ${JSON.stringify(text.slice(0, 100))}, no id`);
  return id;
}
