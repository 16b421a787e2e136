import { type HpcBackend, HpcError } from '../../backend.js';
import { quoteArgv } from '../../quote.js';
import type { HpcErrorKind, RemoteJob } from '../../remote-job.js';
import { firstLine, mustRun, type RemoteShell, type ShellResult } from '../../shell/remote-shell.js';
import { shellFiles } from '../../shell/shell-files.js';
import { LOCK_BUSY, submitOnceScript } from '../../shell/submit-once.js';
import { SCRIPT_FILE, type Submission } from '../../submission.js';
import type { HpcTarget, SiteCommands } from '../../target.js';
import { checkRoot } from '../site-check.js';
import { pick } from '../task-rows.js';
import { readJobLines } from './job-lines.js';

/**
 * A site by tools of its own, on this machine or over SSH. What the tools promise is in the README of this folder:
 *
 * - `submit` prints the id on its last line, and sets BERTH_REMOTE_ID (and BERTH_TASK_INDEX) for the job it starts.
 * - `status` prints a JSON line for each job of the account that it knows, those in {ids} among them.
 * - `cancel` succeeds for a job that has ended or that it does not know.
 * - Exit statuses are those of sysexits.h: 64 refused, 77 not let in, 78 set up wrongly; others may be tried again.
 *
 * Two senders meet at the lock of the work directory, and the second finds the id that the first has left there.
 */
export function commandBackend(shell: RemoteShell, commands: SiteCommands, target: HpcTarget): HpcBackend {
  const run = (script: string, signal: AbortSignal): Promise<string> => mustRun(shell, script, { signal, explain });
  const jobs = async (ids: readonly string[], signal: AbortSignal): Promise<Map<string, RemoteJob>> =>
    readJobLines(await run(quoteArgv(fill(commands.status, { ids })), signal));
  return {
    files: shellFiles(shell),
    check: async (signal) => {
      await checkRoot(shell, target, signal);
      const said = commands.check === null ? '' : await run(quoteArgv(fill(commands.check, wordsOf(target))), signal);
      await jobs([], signal);
      return {
        system: said.trim() || `tools of ${target.name}`,
        partitions: [],
        hasAccounting: false,
        maxArraySize: null,
      };
    },
    submit: async (submission, signal) => {
      const submit = fill(commands.submit, { ...wordsOf(submission.options), ...submissionWords(submission) });
      const text = await run(submitOnceScript({ submission, lookup: 'true', submit }), signal);
      const id = text.trim();
      if (/^[^\s/]{1,100}$/.test(id)) return id;
      throw new HpcError(
        'configuration',
        `the submit command printed ${JSON.stringify(id.slice(0, 100))}, which is no id`,
      );
    },
    find: async (tag, signal) => [...(await jobs([], signal)).values()].filter((job) => job.tag === tag),
    statusOf: async (ids, signal) => pick(await jobs(ids, signal), ids),
    cancel: async (id, signal) => {
      await run(quoteArgv(fill(commands.cancel, { id })), signal);
    },
    close: () => shell.close(),
  };
}

type Words = Readonly<Record<string, string | number | readonly string[] | undefined>>;

/** Fills a template: `{ids}` alone becomes as many words as there are ids, and what is not known becomes nothing. */
function fill(template: readonly string[], words: Words): string[] {
  return template.flatMap((word) => {
    const list = /^\{(\w+)\}$/.exec(word)?.[1];
    const many = list === undefined ? undefined : words[list];
    if (Array.isArray(many)) return many as readonly string[];
    return [word.replace(/\{(\w+)\}/g, (_, name: string) => textOf(words[name]))];
  });
}

function textOf(value: Words[string]): string {
  if (value === undefined) return '';
  return typeof value === 'object' ? value.join(',') : String(value);
}

function wordsOf({ account, partition }: { account?: string | null; partition?: string | null }): Words {
  return { account: account ?? undefined, partition: partition ?? undefined };
}

function submissionWords({ tag, work, options }: Submission): Words {
  const { cpus, memoryMiB, gpus, timeLimitMs, array } = options;
  return {
    tag,
    work,
    script: `${work}/${SCRIPT_FILE}`,
    cpus,
    memoryMiB,
    gpus: gpus?.count,
    timeLimitSeconds: timeLimitMs === undefined ? undefined : Math.ceil(timeLimitMs / 1_000),
    array,
  };
}

const KINDS: ReadonlyMap<number, HpcErrorKind> = new Map([
  [64, 'refused'],
  [77, 'credentials'],
  [78, 'configuration'],
  [126, 'configuration'],
]);

function explain(result: ShellResult): HpcError {
  if (result.exitCode === LOCK_BUSY)
    return new HpcError('unavailable', 'another submission is under way, or the site asks to wait');
  return new HpcError(KINDS.get(result.exitCode) ?? 'unavailable', firstLine(result));
}
