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
    .option('--attempt <number>', 'of this attempt of a task; the newest by default')
    .addHelpText('after', examples('berth logs -f last', 'berth logs j42.7', 'berth logs j42.7 --attempt 1 --stderr'))
    .action(async (target: string, flags: LogFlags) => host.exit(await logs(host.context, target, flags)));
}

async function logs(context: Context, target: string, flags: LogFlags): Promise<number> {
  const attempt = flags.attempt === undefined ? undefined : countFlag('--attempt', flags.attempt);
  const selected = await selectJobOrTask(context.api, target);
  const { job } = selected;
  const task = selected.task ?? (attempt === undefined ? undefined : await onlyTask(context, job));
  const isPrefixed = task === undefined && job.taskCount > 1;
  const streams = streamsOf(flags);
  const printer = new OutputPrinter(context, { isPrefixed, streams });
  if (flags.follow) return follow(context, { job, task, attempt, streams, printer });
  if (task === undefined) await printJobOutput(context, job, printer);
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
