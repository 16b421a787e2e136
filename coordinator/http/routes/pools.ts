import Type from 'typebox';
import { changePool, definePool, listPools, removePool, showPool } from '../../service/pools.js';
import { poolSchema } from '../../service/present-pool.js';
import { nullable } from '../../service/schemas.js';
import { answers, nothing, type RouteContext, type Server, strict } from '../context.js';
import { granted } from '../problem.js';

const params = Type.Object({ name: Type.String({ description: "The pool's name." }) });
const reasonBody = Type.Object(
  { reason: Type.String({ minLength: 1, maxLength: 500, description: 'Shown with the pool.' }) },
  strict,
);
const scaleBody = Type.Object(
  { count: nullable(Type.Integer({ minimum: 0 }), 'Machines that are to be on at least; null: as the pool needs.') },
  strict,
);
const shared = { params, querystring: nothing } as const;

export function poolRoutes(server: Server, { service }: RouteContext): void {
  server.get(
    '/v1/pools',
    {
      schema: {
        summary: 'List pools',
        querystring: nothing,
        response: answers(Type.Object({ pools: Type.Array(poolSchema) })),
      },
    },
    async () => ({ pools: await listPools(service()) }),
  );
  server.get(
    '/v1/pools/:name',
    { schema: { ...shared, summary: 'Show a pool and its machines', response: answers(poolSchema) } },
    async ({ params: { name } }) => granted(await showPool(service(), name)),
  );
  server.put(
    '/v1/pools/:name',
    {
      schema: {
        ...shared,
        summary: 'Make a pool, or change it',
        body: Type.Object({}, { additionalProperties: true, description: 'As in a file of pools.' }),
        response: answers(poolSchema),
      },
    },
    async ({ params: { name }, body, caller }) =>
      granted(await definePool(service(), name, { input: body, by: caller.name })),
  );
  server.delete(
    '/v1/pools/:name',
    {
      schema: {
        ...shared,
        summary: 'Remove a pool; one that has machines retires, and goes with the last of them',
        response: { 204: Type.Null({ description: 'Removed, or retiring.' }), ...answers(Type.Null()) },
      },
    },
    async ({ params: { name }, caller }, reply) => {
      granted(await removePool(service(), name, caller.name));
      return reply.code(204).send(null);
    },
  );
  controlRoutes(server, service);
}

function controlRoutes(server: Server, service: RouteContext['service']): void {
  server.post(
    '/v1/pools/:name/scale',
    {
      schema: {
        ...shared,
        summary: 'Keep so many machines of a pool on, or leave it to the pool again',
        body: scaleBody,
        response: answers(poolSchema),
      },
    },
    async ({ params: { name }, body: { count }, caller }) =>
      granted(await changePool(service(), name, { type: 'scalePool', pool: name, count, by: caller.name })),
  );
  server.post(
    '/v1/pools/:name/enable',
    {
      schema: { ...shared, summary: 'Let a pool start machines again', body: nothing, response: answers(poolSchema) },
    },
    async ({ params: { name }, caller }) =>
      granted(await changePool(service(), name, { type: 'enablePool', pool: name, by: caller.name })),
  );
  for (const verb of ['disable', 'cordon'] as const) {
    server.post(
      `/v1/pools/:name/${verb}`,
      { schema: { ...shared, summary: SUMMARIES[verb], body: reasonBody, response: answers(poolSchema) } },
      async ({ params: { name }, body: { reason }, caller }) => {
        const input = { type: `${verb}Pool`, pool: name, reason, by: caller.name } as const;
        return granted(await changePool(service(), name, input));
      },
    );
  }
}

const SUMMARIES = {
  disable: 'Start no machine of a pool; those that are on work on',
  cordon: 'Start no machine of a pool, and nothing new on its nodes',
} as const;
