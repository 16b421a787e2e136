import { AppError, isAppError } from '../../../shared/errors.js';
import { suggest } from '../../../shared/suggest.js';
import type { FragmentationView, NodeView } from '../api.js';
import { type ApiRequest, segment } from '../client.js';
import type { Context } from '../context.js';
import { EXIT } from '../exit-code.js';
import { fragmentationRemark, strandedColumns } from '../format/fragmentation.js';
import { isTabular, printListing, printOne, tableScreen } from '../format/listing.js';
import { gpuColumns, nodeColumns, nodeFields } from '../format/node.js';
import { renderFields, renderTable } from '../format/table.js';
import { durationFlag, examples, type FormatFlags, formatOption, type Host, requiredFlag } from '../host.js';

export function addNodeCommands(host: Host): void {
  host.program
    .command('nodes')
    .summary('list nodes, or show one')
    .description('List the nodes and what is free on them, or show one in detail.')
    .argument('[node]', 'show this node alone')
    .option('--fragmentation', 'how much free GPU is stranded, and by what')
    .addOption(formatOption())
    .addHelpText('after', examples('berth nodes', 'berth nodes gpu-1', 'berth nodes --fragmentation'))
    .action(async (name: string | undefined, flags: FormatFlags & { readonly fragmentation?: true }) => {
      if (flags.fragmentation && name === undefined) host.exit(await fragmentation(host.context, flags));
      else host.exit(name === undefined ? await list(host.context, flags) : await show(host.context, name, flags));
    });
  addIntakeCommands(host);
  host.program
    .command('remove-node')
    .summary('forget a node')
    .description('Forget a node that is gone for good. Refused while it is connected or holds tasks.')
    .argument('<node>')
    .addHelpText('after', examples('berth remove-node old-7'))
    .action(async (name: string) => {
      await askOf(host.context, name, { method: 'DELETE', path: `/nodes/${segment(name)}` });
      host.context.out.write(`${name} removed\n`);
    });
}

function addIntakeCommands(host: Host): void {
  host.program
    .command('drain')
    .summary('empty a node')
    .description('Start nothing new on a node and let what runs there end; at the deadline it is stopped and requeued.')
    .argument('<node>')
    .option('--reason <text>', 'why; shown to everybody (required)')
    .option('--deadline <duration>', 'how long running tasks may go on, or none', 'none')
    .addHelpText('after', examples('berth drain gpu-1 --reason "new disk" --deadline 2h', 'berth open gpu-1'))
    .action(async (name: string, { reason, deadline }: { reason?: string; deadline: string }) => {
      const deadlineMs = deadline === 'none' ? null : durationFlag('--deadline', deadline);
      const body = { reason: reasonOf(reason), deadlineMs };
      await setIntake(host.context, name, { verb: 'drain', body });
    });
  host.program
    .command('cordon')
    .summary('start nothing new on a node')
    .description('Start nothing new on a node; what runs there goes on.')
    .argument('<node>')
    .option('--reason <text>', 'why; shown to everybody (required)')
    .addHelpText('after', examples('berth cordon gpu-1 --reason "strange noise"'))
    .action(async (name: string, { reason }: { reason?: string }) => {
      await setIntake(host.context, name, { verb: 'cordon', body: { reason: reasonOf(reason) } });
    });
  host.program
    .command('open')
    .summary('undo drain and cordon')
    .description('Let a node take tasks again.')
    .argument('<node>')
    .addHelpText('after', examples('berth open gpu-1'))
    .action(async (name: string) => setIntake(host.context, name, { verb: 'open', body: {} }));
}

function reasonOf(reason: string | undefined): string {
  return requiredFlag('--reason', reason, 'say why, as in --reason "new disk"; others will want to know');
}

interface IntakeChange {
  readonly verb: 'drain' | 'cordon' | 'open';
  readonly body: object;
}

async function setIntake(context: Context, name: string, { verb, body }: IntakeChange): Promise<void> {
  const path = `/nodes/${segment(name)}/${verb}`;
  const node = await askOf<NodeView | null>(context, name, { method: 'POST', path, body });
  context.out.write(`${name} ${node?.intake ?? verb}\n`);
}

async function list(context: Context, { output }: FormatFlags): Promise<number> {
  const document = await context.api.get<{ nodes: readonly NodeView[] }>('/nodes');
  printListing(context, output, {
    document,
    rows: document.nodes,
    columns: nodeColumns(context.clock.now()),
    name: (node) => node.name,
  });
  return EXIT.succeeded;
}

async function show(context: Context, name: string, { output }: FormatFlags): Promise<number> {
  const node = await askOf<NodeView>(context, name, { method: 'GET', path: `/nodes/${segment(name)}` });
  const screen = tableScreen(context);
  printOne(context, output, {
    document: node,
    name: node.name,
    describe: () => {
      const fields = renderFields(nodeFields(node), screen);
      return node.gpus.length === 0 ? fields : `${fields}\n${renderTable(gpuColumns(), node.gpus, screen)}`;
    },
  });
  return EXIT.succeeded;
}

async function fragmentation(context: Context, { output }: FormatFlags): Promise<number> {
  const document = await context.api.get<FragmentationView>('/fragmentation');
  const whole = { ...document, node: 'all' };
  printListing(context, output, {
    document,
    rows: [...document.nodes, whole],
    columns: strandedColumns(),
    name: ({ node }) => node,
  });
  if (isTabular(output)) context.out.write(fragmentationRemark(document));
  return EXIT.succeeded;
}

/** A request about one node; an unknown one is answered with the name that was probably meant. */
async function askOf<Document>(context: Context, name: string, request: ApiRequest): Promise<Document> {
  try {
    return await context.api.document<Document>(request);
  } catch (error) {
    if (!isAppError(error, 'not-found')) throw error;
    const { nodes } = await context.api.get<{ nodes: readonly NodeView[] }>('/nodes');
    const near = suggest(
      name,
      nodes.map((node) => node.name),
    );
    const hint = near === undefined ? '`berth nodes` lists them' : `did you mean ${near}?`;
    throw new AppError('not-found', `there is no node "${name}"`, { cause: error, hint });
  }
}
