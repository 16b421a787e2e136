import type { WhenStep, WhenView } from '../api.js';
import { segment } from '../client.js';
import type { Context } from '../context.js';
import { EXIT } from '../exit-code.js';
import { alternativeLines } from '../format/alternatives.js';
import { isTabular, printListing } from '../format/listing.js';
import type { Column } from '../format/table.js';
import { localTime } from '../format/time.js';
import { examples, type FormatFlags, formatOption, type Host } from '../host.js';
import { selectJob } from '../selector.js';

export function addWhenCommand(host: Host): void {
  host.program
    .command('when')
    .summary('estimate when waiting tasks of a job start')
    .description(
      'Estimate when the next waiting task of each step starts, from time limits alone: what ends sooner, or comes in between, moves it.',
    )
    .argument('<job>', 'j42, last or @name')
    .addOption(formatOption())
    .addHelpText('after', examples('berth when last', 'berth when j42 -o json'))
    .action(async (target: string, flags: FormatFlags) => host.exit(await when(host.context, target, flags)));
}

const COLUMNS: readonly Column<WhenStep>[] = [
  { title: 'STEP', text: ({ step }) => step },
  { title: 'WAITING', text: ({ waiting }) => String(waiting), align: 'right' },
  { title: 'ESTIMATE', text: ({ startAt }) => localTime(startAt) },
  { title: 'NODE', text: ({ node }) => node ?? '-' },
  { title: 'GROUND', text: ({ ground }) => ground, isWide: true },
  { title: 'BECAUSE', text: ({ message }) => message },
];

async function when(context: Context, target: string, { output }: FormatFlags): Promise<number> {
  const job = await selectJob(context.api, target);
  const view = await context.api.get<WhenView>(`/jobs/${segment(job.id)}/when`);
  if (view.steps.length === 0 && isTabular(output)) {
    context.out.write(`no task of ${job.id} waits; it is ${view.phase}\n`);
    return EXIT.succeeded;
  }
  printListing(context, output, {
    document: view,
    rows: view.steps,
    columns: COLUMNS,
    name: ({ step }) => `${job.id}.${step}`,
  });
  if (isTabular(output)) for (const step of view.steps) context.out.write(targetLines(step, view.at));
  return EXIT.succeeded;
}

function targetLines({ step, target, alternatives }: WhenStep, at: string): string {
  if (alternatives.length === 0) return '';
  const lines = alternativeLines(alternatives, { chosen: target ?? undefined, at });
  return `\nThe targets of ${step}, as they are now:\n${lines}`;
}
