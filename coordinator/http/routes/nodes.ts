import Type from 'typebox';
import { fragmentationSchema, reportFragmentation } from '../../service/fragmentation.js';
import { cordonNode, drainNode, listNodes, openNode, removeNode, showNode } from '../../service/nodes.js';
import { nodeSchema } from '../../service/present-node.js';
import { machineSchema } from '../../service/present-pool.js';
import { nullable } from '../../service/schemas.js';
import { answers, nodeParams, nothing, type RouteContext, type Server, strict } from '../context.js';
import { granted } from '../problem.js';

const MAX_DEADLINE_MS = 366 * 24 * 60 * 60 * 1000;
const reason = Type.String({ minLength: 1, maxLength: 500, description: 'Shown with the node.' });

const drainBody = Type.Object(
  {
    reason,
    deadlineMs: Type.Optional(
      nullable(
        Type.Integer({ minimum: 0, maximum: MAX_DEADLINE_MS }),
        'What still runs after this long is stopped and requeued; without it, all may finish.',
      ),
    ),
  },
  strict,
);

const nodeListSchema = Type.Object({
  nodes: Type.Array(nodeSchema),
  machines: Type.Array(machineSchema, { description: 'Rented machines that have not joined yet.' }),
});

const shared = { params: nodeParams, querystring: nothing } as const;

export function nodeRoutes(server: Server, { service }: RouteContext): void {
  server.get(
    '/v1/nodes',
    {
      schema: {
        summary: 'List nodes',
        querystring: nothing,
        response: answers(nodeListSchema),
      },
    },
    async () => listNodes(service()),
  );
  server.get(
    '/v1/fragmentation',
    {
      schema: {
        summary: 'Tell how much free GPU is stranded, and by what',
        querystring: nothing,
        response: answers(fragmentationSchema),
      },
    },
    async () => reportFragmentation(service()),
  );
  server.get(
    '/v1/nodes/:name',
    { schema: { ...shared, summary: 'Show a node', response: answers(nodeSchema) } },
    async ({ params }) => granted(await showNode(service(), params.name)),
  );
  server.delete(
    '/v1/nodes/:name',
    {
      schema: {
        ...shared,
        summary: 'Forget a node that is away',
        response: { 204: Type.Null({ description: 'Forgotten.' }), ...answers(Type.Null()) },
      },
    },
    async ({ params, caller }, reply) => {
      granted(await removeNode(service(), params.name, caller.name));
      return reply.code(204).send(null);
    },
  );
  intakeRoutes(server, service);
}

function intakeRoutes(server: Server, service: RouteContext['service']): void {
  server.post(
    '/v1/nodes/:name/drain',
    {
      schema: {
        ...shared,
        summary: 'Give a node nothing new, and empty it',
        body: drainBody,
        response: answers(nodeSchema),
      },
    },
    async ({ params, body, caller }) => {
      const request = { reason: body.reason, deadlineMs: body.deadlineMs ?? null, by: caller.name };
      return granted(await drainNode(service(), params.name, request));
    },
  );
  server.post(
    '/v1/nodes/:name/cordon',
    {
      schema: {
        ...shared,
        summary: 'Give a node nothing new',
        body: Type.Object({ reason }, strict),
        response: answers(nodeSchema),
      },
    },
    async ({ params, body, caller }) => {
      return granted(await cordonNode(service(), params.name, { reason: body.reason, by: caller.name }));
    },
  );
  server.post(
    '/v1/nodes/:name/open',
    { schema: { ...shared, summary: 'End a cordon or a drain', body: nothing, response: answers(nodeSchema) } },
    async ({ params, caller }) => granted(await openNode(service(), params.name, caller.name)),
  );
}
