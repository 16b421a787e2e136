import { Option } from 'commander';
import type { JobPage, JobView, TaskPage } from '../api.js';
import { type Query, segment } from '../client.js';
import { type Context, remark } from '../context.js';
import { EXIT } from '../exit-code.js';
import { jobColumns, jobFields, stepColumns } from '../format/job.js';
import { isTabular, printListing, printOne, tableScreen } from '../format/listing.js';
import { receiptText } from '../format/report.js';
import { renderFields, renderTable } from '../format/table.js';
import { attemptColumns, taskColumns, taskFields } from '../format/task.js';
import { usageColumns } from '../format/usage.js';
import { countFlag, examples, type FormatFlags, formatOption, type Host } from '../host.js';
import type { ReceiptView } from '../report-documents.js';
import { getTask, selectJobOrTask } from '../selector.js';
import { receiptOf } from './report.js';

const STATES = ['held', 'active', 'canceling', 'finished', 'unfinished'];
const RECENTLY_FINISHED = 10;
const PAGE = 200;
/** A longer task list is for `berth show JOB -o json` and the API. */
const SHOWN_TASKS = 20;

interface ListFlags extends FormatFlags {
  readonly state?: string;
  readonly name?: string;
  readonly namespace?: string;
  readonly label?: readonly string[];
  readonly all?: true;
  readonly limit: string;
}

export function addListCommands(host: Host): void {
  host.program
    .command('ls')
    .summary('list jobs')
    .description('List the jobs that are not finished and those that finished lately, newest first.')
    .addOption(new Option('--state <state>', 'only jobs in this state').choices(STATES))
    .option('--name <name>', 'only jobs of this name')
    .option('--namespace <namespace>', 'only jobs of this namespace')
    .option('--label <key=value...>', 'only jobs with this label, or all of these')
    .option('-a, --all', 'every job, however long ago it finished')
    .option('--limit <count>', 'at most so many', '50')
    .addOption(formatOption())
    .addHelpText('after', examples('berth ls', 'berth ls --state finished --name align', 'berth ls --all -o jsonl'))
    .action(async (flags: ListFlags) => host.exit(await list(host.context, flags)));
  host.program
    .command('show')
    .summary('show one job or task in detail')
    .description('Show a job with its steps and tasks, or a task with its attempts.')
    .argument('<job>', 'a job or a task: j42, last, @name, j42.7')
    .addOption(formatOption())
    .addHelpText('after', examples('berth show last', 'berth show j42.7', 'berth show @align -o json'))
    .action(async (target: string, flags: FormatFlags) => host.exit(await show(host.context, target, flags)));
}

async function list(context: Context, flags: ListFlags): Promise<number> {
  const limit = flags.all ? Number.POSITIVE_INFINITY : countFlag('--limit', flags.limit);
  const filter = { name: flags.name, namespace: flags.namespace, label: flags.label };
  const page = isDefaultView(flags)
    ? await currentJobs(context, { filter, limit })
    : await pages(context, { filter: { ...filter, state: flags.state }, limit });
  printListing(context, flags.output, {
    document: page,
    rows: page.jobs,
    columns: jobColumns(context.clock.now()),
    name: (job) => job.id,
  });
  if (page.nextCursor !== null && context.err.isTerminal) remark(context, 'there are more; see --all and --limit');
  return EXIT.succeeded;
}

function isDefaultView(flags: ListFlags): boolean {
  return flags.state === undefined && flags.all === undefined;
}

interface PagesRequest {
  readonly filter: Query;
  readonly limit: number;
}

async function currentJobs(context: Context, { filter, limit }: PagesRequest): Promise<JobPage> {
  const finishedLimit = Math.min(limit, RECENTLY_FINISHED);
  const [unfinished, finished] = await Promise.all([
    pages(context, { filter: { ...filter, state: 'unfinished' }, limit }),
    pages(context, { filter: { ...filter, state: 'finished' }, limit: finishedLimit }),
  ]);
  // Both are newest first; a job that finished between the two answers is in each, and the later one is right.
  const byId = new Map([...unfinished.jobs, ...finished.jobs].map((job) => [job.id, job]));
  const jobs = [...byId.values()].sort((left, right) => sequenceOf(right) - sequenceOf(left));
  return { jobs, nextCursor: unfinished.nextCursor };
}

function sequenceOf(job: JobView): number {
  return Number(job.id.slice(1));
}

async function pages(context: Context, { filter, limit }: PagesRequest): Promise<JobPage> {
  const jobs: JobView[] = [];
  let cursor: string | null = null;
  do {
    const query = { ...filter, limit: Math.min(PAGE, limit - jobs.length), cursor: cursor ?? undefined };
    const page: JobPage = await context.api.get<JobPage>('/jobs', { query });
    jobs.push(...page.jobs);
    cursor = page.nextCursor;
  } while (cursor !== null && jobs.length < limit);
  return { jobs, nextCursor: cursor };
}

async function show(context: Context, target: string, { output }: FormatFlags): Promise<number> {
  const { job, task } = await selectJobOrTask(context.api, target);
  if (task !== undefined) await showTask(context, { job, task, output });
  else {
    const more = isTabular(output) ? await Promise.all([telling(context, job), receiptOf(context, job.id)]) : undefined;
    printOne(context, output, { document: job, name: job.id, describe: () => describeJob(context, job, more) });
  }
  return EXIT.succeeded;
}

/** The tasks worth showing: all of a small job, the failed ones of a large one. */
function telling(context: Context, job: JobView): Promise<TaskPage> {
  const filter = job.taskCount <= SHOWN_TASKS ? {} : { state: 'failed' };
  return context.api.get<TaskPage>(`/jobs/${segment(job.id)}/tasks`, { query: { limit: SHOWN_TASKS, ...filter } });
}

function describeJob(context: Context, job: JobView, more: readonly [TaskPage, ReceiptView] | undefined): string {
  const screen = tableScreen(context);
  const [tasks, receipt] = more ?? [];
  const cost = receipt === undefined ? null : receiptText(receipt);
  const parts = [renderFields([...jobFields(job, context.clock.now()), ['Cost', cost]], screen)];
  if (job.steps.length > 1) parts.push(renderTable(stepColumns(), job.steps, screen));
  if (tasks && tasks.tasks.length > 0) parts.push(renderTable(taskColumns(), tasks.tasks, screen));
  if (tasks?.nextCursor) parts.push('There are more failed tasks.\n');
  return parts.join('\n');
}

interface ShownTask extends FormatFlags {
  readonly job: JobView;
  readonly task: string;
}

async function showTask(context: Context, { job, task, output }: ShownTask): Promise<void> {
  const view = await getTask(context.api, job, task);
  const screen = tableScreen(context);
  printOne(context, output, {
    document: view,
    name: view.id,
    describe: () => {
      const fields = renderFields(taskFields(view), screen);
      if (!view.attempts?.length) return fields;
      const attempts = renderTable(attemptColumns(), view.attempts, screen);
      return [fields, attempts, renderTable(usageColumns(view.attempts), view.attempts, screen)].join('\n');
    },
  });
}
