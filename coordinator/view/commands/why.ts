import type { WaitingTasks, WhyView } from '../api.js';
import { segment } from '../client.js';
import type { Context } from '../context.js';
import { EXIT } from '../exit-code.js';
import { routeLines } from '../format/alternatives.js';
import { isTabular, printListing } from '../format/listing.js';
import type { Column } from '../format/table.js';
import { examples, type FormatFlags, formatOption, type Host } from '../host.js';
import { selectJob } from '../selector.js';

export function addWhyCommand(host: Host): void {
  host.program
    .command('why')
    .summary('say why tasks of a job wait')
    .description('Say for each waiting task of a job what it waits for.')
    .argument('<job>', 'j42, last or @name')
    .addOption(formatOption())
    .addHelpText('after', examples('berth why last', 'berth why j42 -o json'))
    .action(async (target: string, flags: FormatFlags) => host.exit(await why(host.context, target, flags)));
}

const COLUMNS: readonly Column<WaitingTasks>[] = [
  { title: 'STEP', text: (waiting) => waiting.step },
  { title: 'TASKS', text: (waiting) => waiting.tasks },
  { title: 'COUNT', text: (waiting) => String(waiting.count), align: 'right' },
  { title: 'CODE', text: (waiting) => waiting.reason.code, isWide: true },
  { title: 'REASON', text: (waiting) => waiting.reason.message },
];

async function why(context: Context, target: string, { output }: FormatFlags): Promise<number> {
  const job = await selectJob(context.api, target);
  const view = await context.api.get<WhyView>(`/jobs/${segment(job.id)}/why`);
  if (view.waiting.length === 0 && isTabular(output)) {
    context.out.write(`no task of ${job.id} waits; it is ${view.phase}\n${routeLines(view.routes)}`);
    return EXIT.succeeded;
  }
  printListing(context, output, {
    document: view,
    rows: view.waiting,
    columns: COLUMNS,
    name: (waiting) => `${job.id}.${waiting.step}`,
  });
  if (isTabular(output)) for (const waiting of view.waiting) context.out.write(nodeLines(waiting));
  if (isTabular(output)) context.out.write(routeLines(view.routes));
  return EXIT.succeeded;
}

/** What each kind of node lacks, when there is more than one: the reason itself names the nearest. */
function nodeLines({ step, reason: { details } }: WaitingTasks): string {
  const { nodeClasses = [], nodeClassCount = 0 } = details ?? {};
  if (nodeClasses.length < 2) return '';
  const lines = nodeClasses.map(({ example, nodeCount, message }) => {
    const others = nodeCount === 1 ? '' : ` and ${nodeCount - 1} like it`;
    return `  ${example}${others}: ${message}\n`;
  });
  const more = nodeClassCount - nodeClasses.length;
  return `\nWhat keeps ${step} from each kind of node:\n${lines.join('')}${more > 0 ? `  and ${more} more kinds\n` : ''}`;
}
