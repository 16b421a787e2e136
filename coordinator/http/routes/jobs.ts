import Type from 'typebox';
import { AppError } from '../../../shared/errors.js';
import { parseDuration } from '../../../shared/units.js';
import { cancelJob, holdJob, releaseJob, showJob, showSpec, waitUntilFinished } from '../../service/jobs.js';
import { listJobs } from '../../service/list-jobs.js';
import { listOutputs, outputPageSchema } from '../../service/outputs.js';
import { JOB_STATES, jobSchema } from '../../service/present-job.js';
import { nullable, oneOf } from '../../service/schemas.js';
import { predictJob, whenSchema } from '../../service/when.js';
import { explainJob, whySchema } from '../../service/why.js';
import {
  answers,
  cursorField,
  jobParams,
  nothing,
  pageSize,
  type RouteContext,
  type Server,
  strict,
} from '../context.js';
import { granted } from '../problem.js';

const DEFAULT_PAGE = 50;
const MAX_WAIT_MS = 60_000;
const DEFAULT_WAIT = '55s';

const listQuery = Type.Object(
  {
    limit: pageSize(DEFAULT_PAGE),
    cursor: cursorField,
    state: Type.Optional(oneOf([...JOB_STATES, 'unfinished'])),
    name: Type.Optional(Type.String()),
    namespace: Type.Optional(Type.String()),
    label: Type.Optional(Type.Array(Type.String(), { description: 'KEY=VALUE; given several times, all must hold.' })),
  },
  strict,
);

const showQuery = Type.Object(
  {
    waitFor: Type.Optional(Type.Literal('finished', { description: 'Answer when the job is finished.' })),
    timeout: Type.Optional(
      Type.String({ description: `Answer at latest after this long: 30s. Default ${DEFAULT_WAIT}.` }),
    ),
  },
  strict,
);

export function jobRoutes(server: Server, { service, streams }: RouteContext): void {
  server.get(
    '/v1/jobs',
    {
      schema: {
        summary: 'List jobs, the newest first',
        querystring: listQuery,
        response: answers(Type.Object({ jobs: Type.Array(jobSchema), nextCursor: nullable(Type.String()) })),
      },
    },
    async ({ query }) => granted(await listJobs(service(), { ...query, labels: query.label?.map(labelOf) })),
  );

  server.get(
    '/v1/jobs/:id',
    {
      schema: {
        summary: 'Show a job, or wait for its end',
        params: jobParams,
        querystring: showQuery,
        response: answers(jobSchema),
      },
    },
    async ({ params, query }, reply) => {
      const current = service();
      if (query.waitFor === undefined && query.timeout !== undefined) {
        throw invalidField('timeout', 'has a meaning only together with waitFor=finished');
      }
      if (query.waitFor === undefined) return granted(await showJob(current, params.id));
      const timeoutMs = waitMs(query.timeout ?? DEFAULT_WAIT);
      const signal = streams.watch(reply, current.ended);
      return granted(await waitUntilFinished(current, params.id, { timeoutMs, signal }));
    },
  );

  server.get(
    '/v1/jobs/:id/spec',
    {
      schema: {
        summary: "Show a job's specification in its canonical form",
        params: jobParams,
        querystring: nothing,
        response: answers(Type.Object({}, { additionalProperties: true })),
      },
    },
    async ({ params }) => granted(await showSpec(service(), params.id)),
  );

  outputRoutes(server, service);
  outlookRoutes(server, service);
  controlRoutes(server, service);
}

const outputQuery = Type.Object(
  {
    limit: pageSize(DEFAULT_PAGE),
    cursor: cursorField,
    task: Type.Optional(Type.String({ description: 'Of this task only: 7, or train.7.' })),
    path: Type.Optional(Type.String({ description: 'A path, or a pattern with *, ? and **.' })),
  },
  strict,
);

function outputRoutes(server: Server, service: RouteContext['service']): void {
  server.get(
    '/v1/jobs/:id/outputs',
    {
      schema: {
        summary: "List the files that a job's tasks have left",
        params: jobParams,
        querystring: outputQuery,
        response: answers(outputPageSchema),
      },
    },
    async ({ params, query }) => granted(await listOutputs(service(), params.id, query)),
  );
}

/** What the coordinator has to say about tasks that wait. */
function outlookRoutes(server: Server, service: RouteContext['service']): void {
  server.get(
    '/v1/jobs/:id/why',
    {
      schema: {
        summary: 'Tell why tasks of a job wait',
        params: jobParams,
        querystring: nothing,
        response: answers(whySchema),
      },
    },
    async ({ params }) => granted(await explainJob(service(), params.id)),
  );

  server.get(
    '/v1/jobs/:id/when',
    {
      schema: {
        summary: 'Estimate when waiting tasks of a job start',
        params: jobParams,
        querystring: nothing,
        response: answers(whenSchema),
      },
    },
    async ({ params }) => granted(await predictJob(service(), params.id)),
  );
}

const cancelBody = Type.Object(
  { reason: Type.Optional(Type.String({ minLength: 1, maxLength: 500, description: 'Shown with the job.' })) },
  strict,
);

function controlRoutes(server: Server, service: RouteContext['service']): void {
  server.post(
    '/v1/jobs/:id/cancel',
    {
      schema: {
        summary: 'Cancel a job',
        params: jobParams,
        querystring: nothing,
        body: cancelBody,
        response: answers(jobSchema),
      },
    },
    async ({ params, body, caller }) => {
      const reason = body.reason ?? `canceled by ${caller.name}`;
      return granted(await cancelJob(service(), params.id, { reason, by: caller.name }));
    },
  );

  const schema = { params: jobParams, querystring: nothing, body: nothing, response: answers(jobSchema) };
  server.post(
    '/v1/jobs/:id/hold',
    { schema: { ...schema, summary: 'Start nothing more of a job' } },
    async ({ params }) => granted(await holdJob(service(), params.id)),
  );
  server.post('/v1/jobs/:id/release', { schema: { ...schema, summary: 'Let a held job go' } }, async ({ params }) =>
    granted(await releaseJob(service(), params.id)),
  );
}

function labelOf(text: string): readonly [string, string] {
  const at = text.indexOf('=');
  if (at <= 0) throw invalidField('label', `"${text}" is not KEY=VALUE`);
  return [text.slice(0, at), text.slice(at + 1)];
}

function waitMs(text: string): number {
  const timeoutMs = parseDuration(text);
  if (typeof timeoutMs === 'string') throw invalidField('timeout', timeoutMs);
  if (timeoutMs > MAX_WAIT_MS) throw invalidField('timeout', `${text} is too long; 60s at most, then ask again`);
  return timeoutMs;
}

function invalidField(field: string, message: string): AppError {
  return new AppError('invalid-request', `${field}: ${message}`, { problems: [{ field, message }] });
}
