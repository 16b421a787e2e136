import type { EventView } from '../api.js';
import { detachable } from '../attend.js';
import { piecesOf } from '../client.js';
import type { Context } from '../context.js';
import { EXIT } from '../exit-code.js';
import type { Format } from '../format/listing.js';
import { plainLine, truncate } from '../format/text.js';
import { localTime } from '../format/time.js';
import { countFlag, examples, formatOption, type Host } from '../host.js';
import { linesOf } from '../lines.js';
import { pause, Reconnecting } from '../retry.js';
import { STREAM_ANSWER_MS } from '../wait.js';

interface EventFlags {
  readonly follow?: true;
  readonly after?: string;
  readonly types?: string;
  readonly output: Format;
}

const SHOWN_BY_DEFAULT = 50;
const RESUME_MS = 500;

export function addEventsCommand(host: Host): void {
  host.program
    .command('events')
    .summary('print what happened')
    .description(`Print the last ${SHOWN_BY_DEFAULT} events, or those after a number, and perhaps what is yet to come.`)
    .option('-f, --follow', 'go on with what happens from now on')
    .option('--after <seq>', 'begin after this event; 0 for all that is known')
    .option('--types <types>', 'only these, separated by commas: job.finished,node.lost')
    .addOption(formatOption())
    .addHelpText('after', examples('berth events', 'berth events -f --types job.finished -o jsonl'))
    .action(async (flags: EventFlags) => host.exit(await events(host.context, flags)));
}

async function events(context: Context, flags: EventFlags): Promise<number> {
  const after = flags.after === undefined ? undefined : countFlag('--after', flags.after);
  const { lastSeq } = await context.api.get<{ lastSeq: number }>('/healthz');
  const range = {
    after: after ?? Math.max(0, flags.follow ? lastSeq : lastSeq - SHOWN_BY_DEFAULT),
    until: flags.follow ? Number.POSITIVE_INFINITY : lastSeq,
    types: flags.types?.split(',').map((type) => type.trim()),
  };
  const shown: EventView[] = [];
  // A whole document cannot be written before its end; everything else is written as it comes.
  const show = flags.output === 'json' ? (event: EventView) => void shown.push(event) : printer(context, flags.output);
  const exitCode = await detachable(context, { jobIds: [], timeoutMs: null }, async (signal) => {
    await copyEvents(context, { ...range, signal, show });
    return EXIT.succeeded;
  });
  if (flags.output === 'json') context.out.write(`${JSON.stringify({ events: shown }, null, 2)}\n`);
  return exitCode;
}

interface EventRange {
  readonly after: number;
  readonly until: number;
  readonly types: readonly string[] | undefined;
  readonly signal: AbortSignal;
  show(event: EventView): void;
}

async function copyEvents(context: Context, range: EventRange): Promise<void> {
  const reconnecting = new Reconnecting(context, { signal: range.signal });
  let position = range.after;
  while (position < range.until) {
    try {
      for await (const event of eventsAfter(context, { ...range, after: position })) {
        reconnecting.succeeded();
        position = event.seq;
        if (range.types === undefined || range.types.includes(event.type)) range.show(event);
        if (position >= range.until) return;
      }
      await pause(context.clock, RESUME_MS, range.signal);
    } catch (error) {
      await reconnecting.failed(error);
    }
  }
}

/** The events of one answer. Those of a bounded range come unfiltered, so that its end is always seen. */
async function* eventsAfter(context: Context, { after, until, types, signal }: EventRange): AsyncGenerator<EventView> {
  const wanted = Number.isFinite(until) ? undefined : types?.join(',');
  const response = await context.api.open({
    method: 'GET',
    path: '/events',
    query: { after, types: wanted },
    headers: { accept: 'text/event-stream' },
    answerWithinMs: STREAM_ANSWER_MS,
    signal,
  });
  try {
    for await (const line of linesOf(piecesOf(response))) {
      if (line.startsWith('data:')) yield JSON.parse(line.slice('data:'.length)) as EventView;
    }
  } finally {
    response.destroy();
  }
}

function printer(context: Context, format: Format): (event: EventView) => void {
  if (format === 'jsonl') return (event) => context.out.write(`${JSON.stringify(event)}\n`);
  if (format === 'name') return (event) => context.out.write(`${event.seq}\n`);
  return (event) => {
    const line = `${String(event.seq).padStart(8)}  ${localTime(event.at)}  ${event.type.padEnd(24)}  ${summary(event)}`;
    context.out.write(`${format === 'wide' ? line : truncate(line, context.out.columns())}\n`);
  };
}

const TOLD_IN_THE_LINE = new Set(['seq', 'at', 'type', 'spec', 'inventory', 'sequence']);

/** The event's own fields as `name=value`; those that fill a page are left to `-o json`. */
function summary(event: EventView): string {
  const fields = Object.entries(event).filter(([name, value]) => !TOLD_IN_THE_LINE.has(name) && value !== null);
  return plainLine(fields.map(([name, value]) => `${name}=${fieldText(value)}`).join(' '));
}

function fieldText(value: unknown): string {
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
