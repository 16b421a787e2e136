import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type {
  FastifyBaseLogger,
  FastifyInstance,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify';
import Type, { type TSchema } from 'typebox';
import type { Service } from '../service/service.js';
import { PROBLEM_TYPE, problemSchema } from './problem.js';
import type { Streams } from './streams.js';

export type Server = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

/** Who asks, as the token says. */
export interface Caller {
  readonly name: string;
}

declare module 'fastify' {
  interface FastifyRequest {
    caller: Caller;
  }
  interface FastifyContextConfig {
    /** Answered without a token. */
    isPublic?: boolean;
    /** Answered to agents too, with the token by which they join. */
    isForAgents?: boolean;
  }
}

/** What the routes work with. */
export interface RouteContext {
  /** Throws `store-unavailable` or `shutting-down` while there is no service. */
  readonly service: () => Service;
  readonly streams: Streams;
  readonly version: string;
}

const problem = { description: 'A problem.', content: { [PROBLEM_TYPE]: { schema: problemSchema } } };

/** The answers of a route, for its description. */
export function answers<Schema extends TSchema>(schema: Schema) {
  return { 200: schema, default: problem } as const;
}

/** The answer of a route that writes its body by itself. */
export function answersWith(contentType: string, description: string) {
  return { 200: { description, content: { [contentType]: { schema: Type.String() } } }, default: problem } as const;
}

export const strict = { additionalProperties: false } as const;

export const jobParams = Type.Object({ id: Type.String({ description: 'A job, for example j42.' }) });
export const taskParams = Type.Object({
  id: Type.String({ description: 'A job, for example j42.' }),
  task: Type.String({ description: 'A task: 7, or train.7.' }),
});
export const nodeParams = Type.Object({ name: Type.String({ description: "The node's name." }) });

export const MAX_PAGE = 1_000;
export const cursorField = Type.Optional(
  Type.String({ maxLength: 256, description: 'nextCursor of the page before.' }),
);
export const pageSize = (size: number) => Type.Integer({ minimum: 1, maximum: MAX_PAGE, default: size });
export const nothing = Type.Object({}, strict);
