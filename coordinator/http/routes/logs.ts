import Type from 'typebox';
import { openJobLog } from '../../service/job-log.js';
import type { LogRecord } from '../../service/log-record.js';
import { oneOf } from '../../service/schemas.js';
import { openTaskLog } from '../../service/task-log.js';
import { answersWith, jobParams, type RouteContext, type Server, strict, taskParams } from '../context.js';
import { granted } from '../problem.js';

const follow = Type.Boolean({ default: false, description: 'Stay until nothing more can come.' });

const taskLogQuery = Type.Object(
  {
    stream: Type.Optional(oneOf(['stdout', 'stderr'], 'Default stdout.')),
    offset: Type.Integer({
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      default: 0,
      description: 'The first byte wanted.',
    }),
    attempt: Type.Optional(Type.Integer({ minimum: 1, description: 'Default the newest.' })),
    follow,
  },
  strict,
);

const MAX_TAIL_LINES = 1_000_000;

const jobLogQuery = Type.Object(
  {
    task: Type.Optional(Type.String({ maxLength: 1_000, description: 'Only these: 3,7-9, or train.1-10.' })),
    attempt: Type.Optional(Type.Integer({ minimum: 1, description: 'Default the newest, and later ones.' })),
    stream: Type.Optional(oneOf(['stdout', 'stderr'], 'Default both.')),
    since: Type.Optional(Type.String({ description: 'What came in the last 10m, or since 2026-01-31T12:00:00Z.' })),
    tail: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: MAX_TAIL_LINES,
        description: 'So many lines of what each stream of each task has, and then what comes.',
      }),
    ),
    follow,
  },
  strict,
);

export function logRoutes(server: Server, { service, streams }: RouteContext): void {
  server.get(
    '/v1/jobs/:id/tasks/:task/logs',
    {
      schema: {
        summary: "Read a task's output, byte for byte",
        params: taskParams,
        querystring: taskLogQuery,
        response: answersWith('application/octet-stream', 'The bytes from offset on; Berth-Attempt names the attempt.'),
      },
    },
    async ({ params, query }, reply) => {
      const { stream: name = 'stdout', offset, attempt } = query;
      const current = service();
      const stream = streams.begin(reply, current.ended);
      const atEnd = query.follow ? 'follow' : 'stop';
      const wanted = { jobId: params.id, task: params.task, stream: name, offset, attempt, atEnd } as const;
      const opened = granted(await openTaskLog(current, { ...wanted, signal: stream.signal }));
      const headers = { 'berth-attempt': String(opened.attempt), 'berth-offset': String(offset) };
      await stream.send({ ...headers, 'content-type': 'application/octet-stream' }, opened.chunks);
    },
  );

  server.get(
    '/v1/jobs/:id/logs',
    {
      schema: {
        summary: 'Read the output of all tasks of a job',
        params: jobParams,
        querystring: jobLogQuery,
        response: answersWith(
          'application/x-ndjson',
          'One {task, attempt, stream, offset, at, text, base64 or missingBytes} a line.',
        ),
      },
    },
    async ({ params, query }, reply) => {
      const current = service();
      const stream = streams.begin(reply, current.ended);
      const atEnd = query.follow ? 'follow' : 'stop';
      const request = { jobId: params.id, query, atEnd, signal: stream.signal } as const;
      const records = granted(await openJobLog(current, request));
      await stream.send({ 'content-type': 'application/x-ndjson' }, linesOf(records));
    },
  );
}

async function* linesOf(records: AsyncIterable<LogRecord>): AsyncGenerator<string> {
  for await (const record of records) yield `${JSON.stringify(record)}\n`;
}
