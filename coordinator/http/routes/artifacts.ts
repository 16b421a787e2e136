import { Readable } from 'node:stream';
import type { FastifyRequest } from 'fastify';
import Type from 'typebox';
import { ARTIFACT_LIMITS, type Artifact, artifactUrl } from '../../../shared/artifact.js';
import { AppError, refuse } from '../../../shared/errors.js';
import { answers, answersWith, nothing, type RouteContext, type Server } from '../context.js';
import { HttpFault } from '../problem.js';

const CONTENT_TYPE = 'application/octet-stream';

const artifactParams = Type.Object({
  sha256: Type.String({ pattern: '^[0-9a-f]{64}$', description: 'SHA-256 of the content, hexadecimal.' }),
});

const artifactSchema = Type.Object({
  url: Type.String({ description: 'berth://sha256:…, as job specifications name it.' }),
  sha256: Type.String(),
  sizeBytes: Type.Integer(),
});

const upload = {
  consumes: [CONTENT_TYPE],
  querystring: nothing,
  response: answers(artifactSchema),
} as const;

/** Files by their content, for users and agents alike. */
export function artifactRoutes(server: Server, { service, streams }: RouteContext): void {
  server.addContentTypeParser(CONTENT_TYPE, (_request, content, done) => done(null, content));
  const options = { bodyLimit: ARTIFACT_LIMITS.maxBytes, config: { isForAgents: true } };
  server.post(
    '/v1/artifacts',
    { ...options, schema: { ...upload, summary: 'Keep a file under the SHA-256 of its content' } },
    async (request) => shown(await service().artifacts.put(contentOf(request))),
  );
  server.put(
    '/v1/artifacts/:sha256',
    { ...options, schema: { ...upload, params: artifactParams, summary: 'Keep a file whose SHA-256 is known' } },
    async (request) => shown(await service().artifacts.put(contentOf(request), request.params.sha256)),
  );
  const read = { params: artifactParams, response: answersWith(CONTENT_TYPE, 'The content; Range is honoured.') };
  server.get(
    '/v1/artifacts/:sha256',
    { ...options, schema: { ...read, summary: 'Read an artifact' } },
    async (request, reply) => {
      const { artifacts, ended } = service();
      const artifact = await found(artifacts.find(request.params.sha256), request.params.sha256);
      const range = rangeOf(request, artifact.sizeBytes);
      const isWhole = range.to - range.from === artifact.sizeBytes;
      const stream = streams.begin(reply, ended);
      await stream.send(headersOf(artifact, range), artifacts.read(artifact.sha256, range), isWhole ? 200 : 206);
    },
  );
  server.head(
    '/v1/artifacts/:sha256',
    { ...options, schema: { ...read, summary: 'Tell whether an artifact is there, and its size' } },
    async ({ params }, reply) => {
      const artifact = await found(service().artifacts.find(params.sha256), params.sha256);
      return reply.headers(headersOf(artifact, { from: 0, to: artifact.sizeBytes })).send('');
    },
  );
}

function shown(artifact: Artifact) {
  return { url: artifactUrl(artifact.sha256), ...artifact };
}

async function* contentOf({ body }: FastifyRequest): AsyncGenerator<Uint8Array> {
  if (!(body instanceof Readable)) {
    throw new AppError('invalid-request', 'the request has no content', { hint: `send it as ${CONTENT_TYPE}` });
  }
  try {
    for await (const piece of body) yield piece as Uint8Array;
  } catch (cause) {
    throw new AppError('invalid-request', 'the content was cut off', { cause, hint: 'send it again' });
  }
}

async function found(search: Promise<Artifact | undefined>, sha256: string): Promise<Artifact> {
  const artifact = await search;
  if (artifact) return artifact;
  throw new AppError('not-found', `there is no artifact ${sha256}`, {
    hint: 'what no job refers to is deleted after a day; put it again',
  });
}

interface Range {
  readonly from: number;
  readonly to: number;
}

function headersOf({ sha256, sizeBytes }: Artifact, { from, to }: Range): Record<string, string> {
  return {
    'content-type': CONTENT_TYPE,
    'content-length': String(to - from),
    'accept-ranges': 'bytes',
    etag: `"${sha256}"`,
    ...(to - from === sizeBytes ? {} : { 'content-range': `bytes ${from}-${to - 1}/${sizeBytes}` }),
  };
}

/** One range as RFC 9110 has it; any other wish is answered with everything. Throws 416 beyond the end. */
function rangeOf({ headers }: FastifyRequest, sizeBytes: number): Range {
  const match = /^bytes=(\d{1,15})-(\d{1,15})?$/.exec(headers.range ?? '');
  if (!match) return { from: 0, to: sizeBytes };
  const from = Number(match[1]);
  const to = Math.min(sizeBytes, match[2] === undefined ? sizeBytes : Number(match[2]) + 1);
  if (from < to) return { from, to };
  throw new HttpFault(416, refuse('invalid-request', `the artifact has ${sizeBytes} bytes, none from ${from} on`));
}
