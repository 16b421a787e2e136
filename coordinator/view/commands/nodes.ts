import type { FragmentationView, NodeView } from '../api.js';
import { askOfNode } from '../ask-node.js';
import { segment } from '../client.js';
import type { Context } from '../context.js';
import { EXIT } from '../exit-code.js';
import { fragmentationRemark, strandedColumns } from '../format/fragmentation.js';
import { isTabular, printListing, printOne, tableScreen } from '../format/listing.js';
import { gpuColumns, nodeColumns, nodeFields } from '../format/node.js';
import { comingColumns } from '../format/pool.js';
import { renderFields, renderTable } from '../format/table.js';
import { examples, type FormatFlags, formatOption, type Host } from '../host.js';
import type { MachineView } from '../pool-documents.js';
import { addIntakeCommands } from './intake.js';

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
      await askOfNode(host.context, name, { method: 'DELETE', path: `/nodes/${segment(name)}` });
      host.context.out.write(`${name} removed\n`);
    });
}

interface NodeList {
  readonly nodes: readonly NodeView[];
  /** Absent from coordinators that rent none. */
  readonly machines?: readonly MachineView[];
}

async function list(context: Context, { output }: FormatFlags): Promise<number> {
  const document = await context.api.get<NodeList>('/nodes');
  const { nodes, machines = [] } = document;
  const now = context.clock.now();
  printListing(context, output, { document, rows: nodes, columns: nodeColumns(now, nodes), name: ({ name }) => name });
  if (machines.length > 0 && isTabular(output)) {
    context.out.write(`\nMachines on their way:\n${renderTable(comingColumns(now), machines, tableScreen(context))}`);
  }
  return EXIT.succeeded;
}

async function show(context: Context, name: string, { output }: FormatFlags): Promise<number> {
  const node = await askOfNode<NodeView>(context, name, { method: 'GET', path: `/nodes/${segment(name)}` });
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
