import Type from 'typebox';
import { AppError, isRefusal } from '../../../shared/errors.js';
import { didYouMean } from '../../../shared/suggest.js';
import { openEvents } from '../../service/events.js';
import { EVENT_TYPES, type EventView, isEventType } from '../../service/present-event.js';
import { answersWith, type RouteContext, type Server, strict } from '../context.js';
import { HttpFault } from '../problem.js';

/** A comment this often keeps proxies from closing a quiet stream, and tells a reader that it still lives. */
const PING_EVERY_MS = 15_000;
const GONE = 410;

const seq = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

const eventQuery = Type.Object(
  {
    after: Type.Optional(
      Type.Integer({ ...seq, description: 'Begin behind this event. Default: with what happens now.' }),
    ),
    types: Type.Optional(Type.String({ description: 'Only these, separated by commas: job.submitted,job.finished' })),
  },
  strict,
);

export function eventRoutes(server: Server, { service, streams }: RouteContext): void {
  server.get(
    '/v1/events',
    {
      schema: {
        summary: 'Follow what happens, as server-sent events',
        headers: Type.Object({ 'last-event-id': Type.Optional(seq) }),
        querystring: eventQuery,
        response: answersWith('text/event-stream', 'One event of the log each; its id is its number in the log.'),
      },
    },
    async ({ headers, query }, reply) => {
      const current = service();
      const types = query.types === undefined ? undefined : new Set(query.types.split(',').map(typeOf));
      const stream = streams.begin(reply, current.ended);
      const after = headers['last-event-id'] ?? query.after;
      const events = await openEvents(current, { after, types, idleMs: PING_EVERY_MS, signal: stream.signal });
      if (isRefusal(events)) throw new HttpFault(GONE, events);
      await stream.send({ 'content-type': 'text/event-stream' }, messagesOf(events));
    },
  );
}

async function* messagesOf(events: AsyncIterable<EventView | null>): AsyncGenerator<string> {
  for await (const event of events) {
    yield event === null ? ': ping\n\n' : `id: ${event.seq}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
  }
}

function typeOf(text: string) {
  if (isEventType(text)) return text;
  const message = `"${text}" is no type of event${didYouMean(text, EVENT_TYPES)}`;
  throw new AppError('invalid-request', `types: ${message}`, { problems: [{ field: 'types', message }] });
}
