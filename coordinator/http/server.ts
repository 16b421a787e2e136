import swagger from '@fastify/swagger';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import fastify, {
  type FastifyHttpOptions,
  type FastifyReply,
  type FastifyRequest,
  type RawServerDefault,
} from 'fastify';
import { AppError } from '../../shared/errors.js';
import { SPEC_LIMITS } from '../../shared/job-spec/spec.js';
import type { Log } from '../../shared/log.js';
import type { Random } from '../../shared/random.js';
import type { ServiceSource } from '../service/service.js';
import { endWhenClosing } from './closing.js';
import type { Caller, RouteContext, Server } from './context.js';
import { acceptJson } from './json-body.js';
import { answerMalformed } from './malformed.js';
import { documentOf, faultOf, granted, headersOf, PROBLEM_TYPE, statusOf } from './problem.js';
import { RouteTable } from './route-table.js';
import { artifactRoutes } from './routes/artifacts.js';
import { eventRoutes } from './routes/events.js';
import { jobRoutes } from './routes/jobs.js';
import { logRoutes } from './routes/logs.js';
import { nodeRoutes } from './routes/nodes.js';
import { poolRoutes } from './routes/pools.js';
import { reportRoutes } from './routes/report.js';
import { secretRoutes, secretValueRoute } from './routes/secrets.js';
import { submitRoute } from './routes/submit.js';
import { systemRoutes } from './routes/system.js';
import { taskRoutes } from './routes/tasks.js';
import { limitSilence } from './silence.js';
import { Streams } from './streams.js';
import { validatorFor } from './validation.js';

export interface HttpOptions {
  /** Asked anew for each request, since the service may come and go. */
  readonly service: ServiceSource;
  /** Who a token stands for; undefined when it is not valid. */
  readonly authenticate: (token: string) => Caller | undefined;
  /** Whether a token is an agent's; it opens the routes for agents alone. */
  readonly isAgentToken: (token: string) => boolean;
  readonly version: string;
  readonly random: Random;
  readonly log: Log;
  /** Serves HTTPS instead of HTTP. */
  readonly certificate?: ServerCertificate | undefined;
}

/** PEM. */
export interface ServerCertificate {
  readonly cert: Buffer;
  readonly key: Buffer;
}

const REQUEST_ID_BYTES = 8;
/** A connection that has not finished TLS by then is ended, as a stop would wait for it. */
const HANDSHAKE_TIMEOUT_MS = 5_000;
const MAX_PARAMETER_LENGTH = 256;

const ROUTES = [
  jobRoutes,
  taskRoutes,
  logRoutes,
  nodeRoutes,
  poolRoutes,
  reportRoutes,
  eventRoutes,
  secretRoutes,
  systemRoutes,
];

/**
 * The HTTP interface, ready to listen: `await server.ready()` or `server.listen(...)` completes it.
 *
 * `server.server` is the node:http server, to which the agents' upgrade is attached. `close` ends open streams and
 * waiting requests, answers new requests with `shutting-down`, and resolves when all connections are closed.
 */
export function buildServer(options: HttpOptions): Server {
  const streams = new Streams(options.log);
  const context: RouteContext = { service: () => granted(options.service()), streams, version: options.version };
  const server = newServer(options);
  const routes = new RouteTable();
  server.addHook('onRoute', (route) => routes.add(route));
  describe(server, options.version);
  server.setValidatorCompiler(validatorFor);
  server.setSerializerCompiler(() => (document) => JSON.stringify(document));
  server.setErrorHandler((error, request, reply) => answerFault(options.log, { error, request, reply }));
  server.setNotFoundHandler((request) => {
    throw routes.faultFor(request);
  });
  endWhenClosing(server, streams);
  requireToken(server, options);
  limitSilence(server);
  acceptJson(server);
  server.register(async (scope: Server) => {
    for (const add of ROUTES) add(scope, context);
  });
  for (const add of [submitRoute, artifactRoutes, secretValueRoute]) {
    server.register(async (scope: Server) => add(scope, context));
  }
  return server;
}

function newServer({ random, certificate }: HttpOptions): Server {
  const options: FastifyHttpOptions<RawServerDefault> = {
    logger: false,
    bodyLimit: SPEC_LIMITS.maxSpecBytes,
    // An upload may take hours as long as it moves; limitSilence sees to that.
    requestTimeout: 0,
    genReqId: () => random.token(REQUEST_ID_BYTES),
    exposeHeadRoutes: false,
    return503OnClosing: false,
    routerOptions: { maxParamLength: MAX_PARAMETER_LENGTH },
    clientErrorHandler: (error, socket) => answerMalformed(error, socket, random.token(REQUEST_ID_BYTES)),
  };
  // Fastify's types tell the two apart; to all that is built on it they are the same.
  const secured = certificate
    ? { ...options, https: { ...certificate, minVersion: 'TLSv1.2', handshakeTimeout: HANDSHAKE_TIMEOUT_MS } }
    : options;
  return fastify(secured as typeof options).withTypeProvider<TypeBoxTypeProvider>();
}

function describe(server: Server, version: string): void {
  server.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Berth',
        version,
        description: 'Submit jobs, watch them, and look after the nodes that run them.',
      },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
      security: [{ token: [] }],
    },
  });
}

interface Failure {
  readonly error: unknown;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

function answerFault(log: Log, { error, request, reply }: Failure): void {
  const fault = faultOf(error);
  const status = statusOf(fault);
  if (fault.code === 'internal') {
    const { id: requestId, method, url } = request;
    log.error('request failed', { requestId, method, url, error: fault.cause ?? fault });
  }
  reply.code(status).headers(headersOf(fault.code)).type(PROBLEM_TYPE).send(documentOf(fault, request.id));
}

const BEARER = /^Bearer +(\S+) *$/i;

/** Who an agent's token stands for. */
const AGENT: Caller = { name: 'agent' };

function requireToken(server: Server, { authenticate, isAgentToken }: HttpOptions): void {
  server.decorateRequest('caller', null as unknown as Caller);
  server.addHook('onRequest', async (request) => {
    const { isPublic, isForAgents } = request.routeOptions.config ?? {};
    if (isPublic) return;
    const token = BEARER.exec(request.headers.authorization ?? '')?.[1];
    const isAgent = isForAgents === true && token !== undefined && isAgentToken(token);
    const caller = token === undefined ? undefined : isAgent ? AGENT : authenticate(token);
    if (!caller) {
      const detail = token === undefined ? 'the request has no token' : 'the token is not valid';
      throw new AppError('unauthenticated', detail, { hint: 'send the header Authorization: Bearer TOKEN' });
    }
    request.caller = caller;
  });
}
