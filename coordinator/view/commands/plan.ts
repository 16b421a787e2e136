import { AppError, isRefusal } from '../../../shared/errors.js';
import type { RehearsalView, RehearsedStep } from '../api.js';
import { EXIT, exitCodeOfError } from '../exit-code.js';
import { routeLines } from '../format/alternatives.js';
import { printFault } from '../format/fault.js';
import { isTabular, printListing } from '../format/listing.js';
import type { Column } from '../format/table.js';
import { examples, type FormatFlags, formatOption, type Host } from '../host.js';
import { addSpecFlags, FILE_HELP, type JobFlags, readSpec } from '../job-source.js';

/** Nodes that a line names before it only counts. */
const SHOWN_NODES = 5;

export function addPlanCommand(host: Host): void {
  const command = host.program
    .command('plan')
    .summary('say where a job would be placed now, and submit nothing')
    .description('Rehearse a job: where its tasks would be placed at once, and why the others would wait.')
    .usage('[flags] -- command [args...]\n       berth plan [flags] FILE [-- args...]')
    .argument('[file]', FILE_HELP)
    .addOption(formatOption())
    .addHelpText('after', examples('berth plan job.yaml', 'berth plan -g 8 -- ./train'))
    .action(async (file: string | undefined, flags: FormatFlags & JobFlags) =>
      host.exit(await plan(host, file, flags)),
    );
  addSpecFlags(command);
}

const COLUMNS: readonly Column<RehearsedStep>[] = [
  { title: 'STEP', text: ({ step }) => step },
  { title: 'TASKS', text: ({ taskCount }) => String(taskCount), align: 'right' },
  { title: 'PLACED', text: ({ placedCount }) => String(placedCount), align: 'right' },
  { title: 'NODES', text: nodesText },
  { title: 'OTHERS WAIT', text: ({ reason }) => reason?.message ?? '-' },
];

async function plan(host: Host, file: string | undefined, flags: FormatFlags & JobFlags): Promise<number> {
  const { context, trailing } = host;
  const spec = await readSpec(context, { file, flags, trailing });
  if (isRefusal(spec)) {
    const fault = AppError.fromRefusal(spec);
    printFault(context.err, fault, file === '-' ? '<stdin>' : file);
    return exitCodeOfError(fault);
  }
  const { formatJobSpec } = await import('../../../shared/job-spec/format.js');
  const view = await context.api.post<RehearsalView>('/plan', formatJobSpec(spec));
  printListing(context, flags.output, {
    document: view,
    rows: view.steps,
    columns: COLUMNS,
    name: ({ step }) => step,
  });
  const routes = view.steps.flatMap(({ route }) => route ?? []);
  if (isTabular(flags.output)) context.out.write(routeLines(routes));
  return EXIT.succeeded;
}

function nodesText({ nodes }: RehearsedStep): string {
  const shown = nodes.slice(0, SHOWN_NODES).map(({ node, taskCount }) => `${node}:${taskCount}`);
  if (nodes.length > SHOWN_NODES) shown.push(`and ${nodes.length - SHOWN_NODES} more`);
  return shown.join(' ');
}
