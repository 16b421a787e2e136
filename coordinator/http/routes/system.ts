import Type from 'typebox';
import { answers, nothing, type RouteContext, type Server } from '../context.js';

const healthSchema = Type.Object({ status: Type.Literal('ok'), version: Type.String(), lastSeq: Type.Integer() });
const documentSchema = Type.Object({}, { additionalProperties: true });

export function systemRoutes(server: Server, { service, version }: RouteContext): void {
  server.get(
    '/healthz',
    {
      config: { isPublic: true },
      schema: { summary: 'Tell whether the coordinator serves', security: [], response: answers(healthSchema) },
    },
    async () => ({ status: 'ok' as const, version, lastSeq: await service().engine.read((view) => view.lastSeq) }),
  );

  server.get(
    '/v1/whoami',
    {
      schema: {
        summary: 'Tell who the token stands for',
        querystring: nothing,
        response: answers(Type.Object({ name: Type.String() })),
      },
    },
    async ({ caller }) => ({ name: caller.name }),
  );

  for (const path of ['/openapi.json', '/v1/openapi.json']) {
    server.get(
      path,
      {
        config: { isPublic: true },
        schema: { summary: 'This description', security: [], response: answers(documentSchema) },
      },
      async () => server.swagger(),
    );
  }
}
