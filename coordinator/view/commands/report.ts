import { writeFile } from 'node:fs/promises';
import { AppError } from '../../../shared/errors.js';
import { segment } from '../client.js';
import type { Context } from '../context.js';
import { EXIT } from '../exit-code.js';
import { printOne, tableScreen } from '../format/listing.js';
import { POOL_REPORT_COLUMNS, reportFields, WAIT_COLUMNS } from '../format/report.js';
import { historyOf } from '../format/report-history.js';
import { renderFields, renderTable } from '../format/table.js';
import { examples, type FormatFlags, formatOption, type Host } from '../host.js';
import type { ReceiptView, ReportView } from '../report-documents.js';

interface ReportFlags extends FormatFlags {
  readonly since: string;
  readonly until?: string;
  readonly svg?: string;
}

export function addReportCommand(host: Host): void {
  host.program
    .command('report')
    .summary('tell what jobs and rented machines did')
    .description('Tell how long jobs waited and what the machines of pools did and cost, over a time.')
    .option('--since <time>', 'its beginning: so long ago, or 2026-01-31T12:00:00Z', '7d')
    .option('--until <time>', 'its end, in the same form (now)')
    .option('--svg <file>', 'draw the jobs and the nodes by state over time')
    .addOption(formatOption())
    .addHelpText(
      'after',
      examples('berth report', 'berth report --since 30d --until 7d -o json', 'berth report --svg week.svg'),
    )
    .action(async (flags: ReportFlags) => host.exit(await report(host.context, flags)));
}

async function report(context: Context, { since, until, output, svg }: ReportFlags): Promise<number> {
  const document = await context.api.get<ReportView>('/report', { query: { since, until } });
  if (svg !== undefined) await draw(svg, document);
  printOne(context, output, { document, name: document.from, describe: () => describe(context, document) });
  return EXIT.succeeded;
}

async function draw(path: string, document: ReportView): Promise<void> {
  const { drawCluster } = await import('../../../shared/figure/cluster-figure.js');
  const drawing = drawCluster(historyOf(document));
  try {
    await writeFile(path, drawing);
  } catch (cause) {
    throw new AppError('invalid-request', `--svg: ${(cause as Error).message}`, { cause });
  }
}

function describe(context: Context, document: ReportView): string {
  const screen = tableScreen(context);
  const { waits, pools } = document;
  const rows = waits.all === null ? [] : [{ name: '(all)', ...waits.all }, ...waits.byName];
  const parts = [renderFields(reportFields(document), screen)];
  if (rows.length > 0) parts.push(renderTable(WAIT_COLUMNS, rows, screen));
  if (pools.length > 0) parts.push(renderTable(POOL_REPORT_COLUMNS, pools, screen));
  return parts.join('\n');
}

/** What a job has cost; null from coordinators that know of no prices. */
export function receiptOf(context: Context, jobId: string): Promise<ReceiptView> {
  return context.api.get<ReceiptView>(`/jobs/${segment(jobId)}/receipt`);
}
