import type { FastifyRequest } from 'fastify';
import Type from 'typebox';
import { AppError } from '../../../shared/errors.js';
import { jobSpecSchema } from '../../../shared/job-spec/schema.js';
import { type Submission, submitJob } from '../../service/jobs.js';
import { jobSchema } from '../../service/present-job.js';
import { rehearsalSchema, rehearseJob } from '../../service/rehearsal.js';
import { answers, nothing, type RouteContext, type Server, strict } from '../context.js';
import { granted } from '../problem.js';
import { validatorFor } from '../validation.js';

const YAML_TYPES = ['application/yaml', 'text/yaml', 'application/x-yaml', 'text/x-yaml'];

/** A job as the text of a file, kept as it is so that problems can name line and column. */
class JobText {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

const headers = Type.Object({
  'idempotency-key': Type.Optional(
    Type.String({ minLength: 1, maxLength: 256, description: 'The same key gives the same job for 24 hours.' }),
  ),
});

const submitted = Type.Object({ job: jobSchema });

/** A scope of its own: only here a body may be YAML, and only here the specification's own parser checks it. */
export function submitRoute(server: Server, { service }: RouteContext): void {
  server.addContentTypeParser(YAML_TYPES, { parseAs: 'string' }, (_request, body, done) => {
    done(null, new JobText(String(body)));
  });

  server.post(
    '/v1/jobs',
    {
      schema: {
        summary: 'Submit a job',
        consumes: ['application/json', 'application/yaml'],
        headers,
        querystring: Type.Object({}, strict),
        body: jobSpecSchema,
        response: { ...answers(submitted), 201: submitted },
      },
      preValidation: refuseDryRun,
      validatorCompiler: (part) => (part.httpPart === 'body' ? () => true : validatorFor(part)),
    },
    async (request, reply) => {
      const key = request.headers['idempotency-key'];
      const submission = { input: inputOf(request.body), by: request.caller.name, key };
      const { job, isNew } = granted(await submitJob(service(), submission));
      return reply.code(isNew ? 201 : 200).send({ job });
    },
  );

  server.post(
    '/v1/plan',
    {
      schema: {
        summary: 'Rehearse a job: where it would be placed now, or why not',
        consumes: ['application/json', 'application/yaml'],
        querystring: nothing,
        body: jobSpecSchema,
        response: answers(rehearsalSchema),
      },
      validatorCompiler: (part) => (part.httpPart === 'body' ? () => true : validatorFor(part)),
    },
    async ({ body, caller }) => granted(await rehearseJob(service(), { input: inputOf(body), by: caller.name })),
  );
}

function inputOf(body: unknown): Submission['input'] {
  return body instanceof JobText ? { kind: 'text', text: body.text } : { kind: 'document', document: body };
}

/** Never ignored: who asks for a rehearsal must not get a job. */
async function refuseDryRun(request: FastifyRequest): Promise<void> {
  if (!Object.hasOwn(request.query as object, 'dryRun')) return;
  const message =
    'a rehearsal is not supported by this version; check the file with `berth plan FILE`, which asks POST /v1/plan';
  throw new AppError('unsupported-field', `dryRun: ${message}`, { problems: [{ field: 'dryRun', message }] });
}
