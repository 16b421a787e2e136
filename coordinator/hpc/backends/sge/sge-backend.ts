import { type HpcBackend, HpcError } from '../../backend.js';
import { quote, quoteArgv } from '../../quote.js';
import type { HpcErrorKind, RemoteJob } from '../../remote-job.js';
import { firstLine, mustRun, type RemoteShell, type ShellResult } from '../../shell/remote-shell.js';
import { shellFiles } from '../../shell/shell-files.js';
import { LOCK_BUSY, submitOnceScript } from '../../shell/submit-once.js';
import { SCRIPT_FILE, type Submission, type SubmitOptions, systemLog } from '../../submission.js';
import type { HpcTarget } from '../../target.js';
import { checkPartition, checkRoot } from '../site-check.js';
import { endedOf, jobsOf, pick } from '../task-rows.js';
import { rowsOfAccounting, rowsOfQueue } from './sge-answers.js';

/** `qstat -r` writes a job's whole name below its line; this prints the ids of those with the name in `$tag`. */
const IDS_BY_NAME = `awk -v tag="$tag" '$1 ~ /^[0-9]+$/ { id = $1 } $1 == "Full" && $3 == tag { print id }'`;
const QUEUE = 'qstat -xml -g d -u "$(id -un)"';

/**
 * Grid Engine by its command-line tools: a partition is a queue here, an account a project.
 *
 * What has ended is in accounting alone, some seconds later; what was deleted while it waited is nowhere. `submit` is
 * idempotent by the tag.
 */
export function sgeBackend(shell: RemoteShell, target: Pick<HpcTarget, 'partition' | 'stagingRoot'>): HpcBackend {
  const run = (script: string, signal: AbortSignal): Promise<string> => mustRun(shell, script, { signal, explain });
  const queue = async (signal: AbortSignal): Promise<Map<string, RemoteJob>> => {
    const { XMLParser } = await import('fast-xml-parser');
    const parser = new XMLParser({ parseTagValue: false });
    return jobsOf(rowsOfQueue(parser.parse(await run(QUEUE, signal)) as unknown));
  };
  return {
    files: shellFiles(shell),
    accounting: { endedOf: async (ids, signal) => endedOf(await account(shell, ids, signal), ids) },
    check: async (signal) => {
      const [system = '', ...queues] = (await run('qstat -help | head -n 1 && qconf -sql', signal)).trim().split('\n');
      checkPartition(target, queues);
      await checkRoot(shell, target, signal);
      return { system: `Grid Engine ${system}`, partitions: queues, hasAccounting: true, maxArraySize: null };
    },
    submit: async (submission, signal) => {
      const lookup = `tag=${quote(submission.tag)}; list=$(qstat -r -u "$(id -un)") || exit; printf '%s\\n' "$list" | ${IDS_BY_NAME}`;
      const text = await run(submitOnceScript({ submission, lookup, submit: qsub(submission) }), signal);
      // An array is told as 4.1-3:1.
      const id = /^\d+/.exec(text.trim())?.[0];
      if (id === undefined)
        throw new HpcError('configuration', `qsub printed ${JSON.stringify(text.slice(0, 100))}, no id`);
      return id;
    },
    find: async (tag, signal) => {
      const queued = [...(await queue(signal)).values()].filter((job) => job.tag === tag);
      if (queued.length > 0) return queued;
      return [...(await account(shell, [tag], signal)).values()].filter((job) => job.tag === tag);
    },
    statusOf: async (ids, signal) => pick(await queue(signal), ids),
    cancel: async (id, signal) => {
      const result = await shell.run(quoteArgv(['qdel', id]), signal);
      if (result.exitCode !== 0 && explain(result).kind !== 'unknown-job') throw explain(result);
    },
    close: () => shell.close(),
  };
}

/** One qacct a job, all in one call; each reads the accounting file, and one that finds nothing complains. */
async function account(
  shell: RemoteShell,
  names: readonly string[],
  signal: AbortSignal,
): Promise<Map<string, RemoteJob>> {
  const script = `for name in ${quoteArgv(names)}; do qacct -o "$(id -un)" -j "$name" 2>/dev/null; done; true`;
  return jobsOf(rowsOfAccounting(await mustRun(shell, script, { signal, explain })));
}

function qsub({ tag, options }: Submission): string[] {
  const words = ['qsub', '-terse', '-N', tag, '-cwd', '-j', 'y', '-o', systemLog(null), '-S', '/bin/sh'];
  return [...words, ...qsubOptions(options), SCRIPT_FILE];
}

function qsubOptions(options: SubmitOptions): string[] {
  const { cpus, array, gpus, licences = {} } = options;
  const given = (flag: string, value: string | number | undefined): string[] =>
    value === undefined ? [] : [flag, String(value)];
  const seconds = options.timeLimitMs === undefined ? undefined : Math.ceil(options.timeLimitMs / 1_000);
  if (gpus?.model)
    throw new HpcError('refused', 'Grid Engine has no common name for a model of GPU; leave "model" out');
  return [
    ...given('-P', options.account),
    ...given('-q', options.partition),
    // The parallel environment that nearly all sites have for threads on one node.
    ...(cpus !== undefined && cpus > 1 ? ['-pe', 'smp', String(cpus)] : []),
    ...given('-l', options.memoryMiB && `mem_free=${options.memoryMiB}M`),
    ...given('-l', gpus && `gpu=${gpus.count}`),
    ...Object.entries(licences).flatMap(([name, count]) => ['-l', `${name}=${count}`]),
    ...given('-l', seconds && `h_rt=${seconds}`),
    ...(options.isExclusive ? ['-l', 'exclusive=true'] : []),
    ...given('-t', array && sgeArray(array)),
    ...given('-tc', options.maxParallel),
    ...(options.mayRequeue === undefined ? [] : ['-r', options.mayRequeue === 'yes' ? 'y' : 'n']),
  ];
}

function sgeArray(array: string): string {
  if (/^[1-9]\d*(-\d+(:\d+)?)?$/.test(array)) return array;
  throw new HpcError(
    'refused',
    `array "${array}": Grid Engine takes one range that begins at 1 or later, such as 1-100:2`,
  );
}

const MEANINGS: readonly (readonly [RegExp, HpcErrorKind])[] = [
  [
    /commlib error|unable to (send message|contact)|can't get connection|got (send|select) error|timed? out/i,
    'unavailable',
  ],
  [/job "[^"]*" does not exist|do(es)? not exist|already in deletion|registered for deletion/i, 'unknown-job'],
  [/denied: (user|host|client|your)|no permission|not allowed|authentication|certificate/i, 'credentials'],
  [/unable to initialize environment|SGE_ROOT|not found/i, 'configuration'],
  [/denied|reject|unknown|unable to run job|invalid|not a valid|no suitable/i, 'refused'],
];

function explain(result: ShellResult): HpcError {
  if (result.exitCode === LOCK_BUSY) return new HpcError('unavailable', 'another submission of this job is under way');
  const text = firstLine(result);
  return new HpcError(MEANINGS.find(([pattern]) => pattern.test(text))?.[1] ?? 'unavailable', text);
}
