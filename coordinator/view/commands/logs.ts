import { Option } from 'commander';
import { AppError } from '../../../shared/errors.js';
import { MAIN_STEP } from '../../../shared/ids.js';
import type { JobView, OutputStreamName, TaskPage } from '../api.js';
import { detachable } from '../attend.js';
import { segment } from '../client.js';
import type { Context } from '../context.js';
import { EXIT } from '../exit-code.js';
import { followJob, printJobOutput } from '../follow-job.js';
import { followTask, printTaskOutput } from '../follow-task.js';
import { countFlag, examples, type Host } from '../host.js';
import { OutputPrinter } from '../output-printer.js';
import { selectJobOrTask } from '../selector.js';
import { waitUntilFinished } from '../wait.js';

interface LogFlags {
  readonly follow?: true;
  readonly stdout?: true;
  readonly stderr?: true;
  readonly attempt?: string;
  readonly task?: string;
  readonly tail?: string;
  readonly since?: string;
  readonly timestamps?: true;
}

export function addLogsCommand(host: Host): void {
  host.program
    .command('logs')
    .summary('print what tasks have put out')
    .description("Print the output of a job's tasks, or of one task: its stdout to stdout, its stderr to stderr.")
    .argument('<job>', 'a job or a task: j42, last, @name, j42.7')
    .option('-f, --follow', 'go on until the job is finished')
    .addOption(new Option('--stdout', 'only stdout').conflicts('stderr'))
    .option('--stderr', 'only stderr')
    .option('--task <indexes>', 'of these tasks of an array: 3,7-9, or train.1-10 with several steps')
    .option('--attempt <number>', 'of this attempt of a task; the newest by default')
    .option('--tail <lines>', 'so many lines of what each stream of each task has, and then what comes')
    .option('--since <time>', 'what came in the last 10m, or since 2026-01-31T12:00:00Z')
    .option('-t, --timestamps', 'when each line came, to about 100 ms; stdout and stderr in this order')
    .addHelpText(
      'after',
      examples(
        'berth logs -f last',
        'berth logs j42.7 --attempt 1 --stderr',
        'berth logs j42 --task 3,7-9 --tail 5',
        'berth logs -f -t --since 10m @align',
      ),
    )
    .action(async (target: string, flags: LogFlags) => host.exit(await logs(host.context, target, flags)));
}

async function logs(context: Context, target: string, flags: LogFlags): Promise<number> {
  const attempt = flags.attempt === undefined ? undefined : countFlag('--attempt', flags.attempt);
  const selected = await selectJobOrTask(context.api, target);
  const { job } = selected;
  if (isPartial(flags)) return partial(context, { job, flags, attempt, task: selected.task });
  const task = selected.task ?? (attempt === undefined ? undefined : await onlyTask(context, job));
  const isPrefixed = task === undefined && job.taskCount > 1;
  const streams = streamsOf(flags);
  const printer = new OutputPrinter(context, { isPrefixed, streams });
  if (flags.follow) return follow(context, { job, task, attempt, streams, printer });
  if (task === undefined) await printJobOutput(context, { job, printer });
  else await printTaskOutput(context, { job, task, attempt, streams, printer });
  return EXIT.succeeded;
}

interface Follow {
  readonly job: JobView;
  readonly task: string | undefined;
  readonly attempt: number | undefined;
  readonly streams: readonly OutputStreamName[];
  readonly printer: OutputPrinter;
}

function follow(context: Context, { job, task, attempt, streams, printer }: Follow): Promise<number> {
  return detachable(context, { jobIds: [job.id], timeoutMs: null }, async (signal) => {
    if (task !== undefined) await followTask(context, { job, task, attempt, streams, printer, signal });
    else {
      const finished = waitUntilFinished(context, job.id, { signal, isWatched: false });
      await Promise.all([followJob(context, { job, printer, signal, finished }), finished]);
    }
    return EXIT.succeeded;
  });
}

/** Asks for what only the answer for whole jobs can tell: which bytes came when, and several tasks. */
function isPartial({ task, tail, since, timestamps }: LogFlags): boolean {
  return task !== undefined || tail !== undefined || since !== undefined || timestamps === true;
}

interface Partial {
  readonly job: JobView;
  readonly flags: LogFlags;
  readonly attempt: number | undefined;
  /** That the target names. */
  readonly task: string | undefined;
}

async function partial(context: Context, { job, flags, attempt, task: named }: Partial): Promise<number> {
  if (named !== undefined && flags.task !== undefined) {
    throw new AppError('invalid-request', `--task: ${job.id}.${named} names one already`, {
      hint: `write berth logs ${job.id} --task ${flags.task}`,
    });
  }
  const task = named ?? flags.task;
  const streams = streamsOf(flags);
  const [stream] = streams;
  const selection = {
    ...(task === undefined ? {} : { task }),
    ...(attempt === undefined ? {} : { attempt }),
    ...(streams.length === 1 && stream ? { stream } : {}),
    ...(flags.since === undefined ? {} : { since: flags.since }),
    ...(flags.tail === undefined ? {} : { tail: countFlag('--tail', flags.tail) }),
  };
  const isPrefixed = named === undefined && job.taskCount > 1;
  const printer = new OutputPrinter(context, { isPrefixed, streams, showsTimes: flags.timestamps === true });
  if (!flags.follow) {
    await printJobOutput(context, { job, printer, selection });
    return EXIT.succeeded;
  }
  return detachable(context, { jobIds: [job.id], timeoutMs: null }, async (signal) => {
    const finished = waitUntilFinished(context, job.id, { signal, isWatched: false });
    await Promise.all([followJob(context, { job, printer, selection, signal, finished }), finished]);
    return EXIT.succeeded;
  });
}

function streamsOf(flags: LogFlags): readonly OutputStreamName[] {
  if (flags.stdout) return ['stdout'];
  return flags.stderr ? ['stderr'] : ['stdout', 'stderr'];
}

/** The task of a job that has one, as the API's paths have it. */
async function onlyTask(context: Context, job: JobView): Promise<string> {
  const { tasks } = await context.api.get<TaskPage>(`/jobs/${segment(job.id)}/tasks`, { query: { limit: 1 } });
  const [task] = tasks;
  if (task === undefined || job.taskCount > 1) {
    throw new AppError('invalid-request', `--attempt is of one task, and ${job.id} has ${job.taskCount}`, {
      hint: `name the task, as in berth logs ${job.id}.${task?.index ?? 0} --attempt 1`,
    });
  }
  return task.step === MAIN_STEP ? String(task.index) : `${task.step}.${task.index}`;
}
